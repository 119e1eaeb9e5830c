"""The routes that exist without any configuration. Data only."""

from fairlead.types.catalog import Route, Rule, Weights

# Tuned on markets of a flagship, a middle, a small and a local model: what most models can do goes
# to a small one, and a tenfold price has to buy a quarter more good answers.
BALANCED = Weights(quality=9, cost=2, speed=1)


def default_routes() -> tuple[Route, ...]:
    return (
        Route(
            name="auto",
            rules=(Rule(weights=BALANCED),),
            description="The model that fits the task: good enough, then cheap, then fast.",
        ),
        Route(
            name="best",
            rules=(Rule(weights=Weights(quality=1, cost=0, speed=0)),),
            description="The best expected answer, whatever it costs.",
        ),
        Route(
            name="cheap",
            rules=(Rule(weights=Weights(quality=0, cost=1, speed=0)),),
            description="The cheapest model that is not hopeless at the task.",
        ),
        Route(
            name="fast",
            rules=(Rule(weights=Weights(quality=0, cost=0, speed=1)),),
            description="The fastest answer from a model that is not hopeless at the task.",
        ),
        Route(
            name="local",
            rules=(Rule(weights=BALANCED),),
            zones=("local",),
            description="Only models that run here: nothing leaves the machine's own zone.",
        ),
    )
