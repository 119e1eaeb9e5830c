"""``fairlead init``: writes a first configuration from what is there. It holds no credential, and
its comments teach the format."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from fairlead.cli.complaint import complaints
from fairlead.outside.config import Found, default_settings

DEFAULT_PATH = Path("fairlead.yaml")
MAX_MODELS_NAMED = 4

HEAD = """\
# Fairlead's configuration. `fairlead check` says what is wrong with it, or what it comes to;
# a running gateway takes changes over by itself, and keeps the old ones if the new are wrong.

# Accounts at places. A name known here (openai, anthropic, ollama, ...) says where it is and how
# it is spoken to. Credentials never stand in this file: {env: NAME} or {file: /path}.
"""
SIMULATED = "  sim: {kind: simulated}    # invented models, to try things out without an account\n"
NOBODY = (
    "simulated models: no provider's key is in the environment and no model server runs on this"
    " machine"
)
OTHERS = """\
  #work: {kind: openai, api_key: [{env: KEY_A}, {file: /run/secrets/key-b}]}   # several keys
  #house: {address: "http://127.0.0.1:8080/v1", zone: local}   # whatever speaks OpenAI's chat
"""
MODELS = """\

# Who serves which model. A provider that is not named here serves what is recommended for it, or
# what it says it has loaded; naming one model of a provider turns that off for this provider.
models:
  #gpt-5-mini: work
  #gemma-4-12b: [house, {at: work, as: gemma-4-12b-it}]   # at two places, under two names
  #phi-5:
  #  at: house
  #  context: 128k
  #  price: {input: $0, output: $0}    # for a million tokens; without one it is unknown, not free
  #  strength: 0.45                    # how good its answers are believed to be, 0 to 1

# Names that applications ask for. These exist anyway: auto, best, cheap, fast, local.
routes:
  # Ranked for each request by what counts here. Compared by ratio; what is not named counts 0.
  everyday: {weights: {quality: 5, cost: 3, speed: 2}}
  # Tried in this order:
  #summaries: {models: [gemma-4-12b, gpt-5-mini], attempts: 2, zones: [local, cloud]}
  # The first rule that fits answers:
  careful:
    deadline: 2m
    rules:
      - {when: {task: [code, mathematics]}, weights: {quality: 1}}
      - {weights: {quality: 1, cost: 1}}

server:
  listen: 127.0.0.1:4600    # other machines can call only once there are keys
  discover: true            # use model servers found on this machine
"""


def command(find: Callable[[], Sequence[Found]]) -> Callable[..., None]:
    """What typer registers. ``find`` looks for model servers on this machine."""

    def init_command(
        config: Annotated[
            Path, typer.Option("--config", "-c", metavar="FILE", help="The file to write.")
        ] = DEFAULT_PATH,
        force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
    ) -> None:
        """Write a first configuration from the keys and model servers that are there."""
        told, complained = Console(), Console(stderr=True)
        with complaints():
            raise typer.Exit(init(config, find(), os.environ, told, complained, force=force))

    return init_command


def init(
    path: Path,
    found: Sequence[Found],
    env: Mapping[str, str],
    told: Console,
    complained: Console,
    *,
    force: bool = False,
) -> int:
    """The exit status: 1 when nothing was written, because there is a file or no place for one."""
    try:
        write(path, starting(found, env), force)
    except FileExistsError:
        complained.print(Text(f"{path} exists; --force replaces it", "red"), soft_wrap=True)
        return 1
    except OSError as error:
        why = f"{path} cannot be written: {error.strerror}"
        complained.print(Text(why, "red"), soft_wrap=True)
        return 1
    told.print(Text(f"{path} written, with {there(found, env)}."), soft_wrap=True)
    where = "" if path == DEFAULT_PATH else f" --config {path}"
    told.print(Text(f"Next: fairlead check{where}, then fairlead serve{where}"), soft_wrap=True)
    return 0


def there(found: Sequence[Found], env: Mapping[str, str]) -> str:
    """What the file was made from."""
    hosted = [f"{each.name} ({each.secrets[0].env})" for each in default_settings(env).providers]
    local = [f"{each.provider} ({each.address})" for each in found]
    return ", ".join((*hosted, *local)) or NOBODY


def starting(found: Sequence[Found], env: Mapping[str, str]) -> str:
    """The file's text. With nobody to ask there are simulated models, so that it can be tried."""
    hosted = [
        f"  {each.name}: {{api_key: {{env: {each.secrets[0].env}}}}}\n"
        for each in default_settings(env).providers
    ]
    local = [local_provider(each) for each in found]
    providers = "".join((*hosted, *local)) or SIMULATED
    return f"{HEAD}providers:\n{providers}{OTHERS}{MODELS}"


def local_provider(found: Found) -> str:
    """Model names come from the server: into a comment they go without line breaks."""
    names = [model.name for model in found.models[:MAX_MODELS_NAMED] if model.name.isprintable()]
    more = ", ..." if len(found.models) > len(names) else ""
    serves = f"    # serves {', '.join(names)}{more}" if names else ""
    return f'  {found.provider}: {{kind: {found.kind}, address: "{found.address}"}}{serves}\n'


def write(path: Path, text: str, force: bool) -> None:
    """Readable by all: there is no secret in it. Raises FileExistsError unless ``force``."""
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
    with os.fdopen(os.open(path, flags, 0o644), "w", encoding="utf-8") as file:
        file.write(text)
