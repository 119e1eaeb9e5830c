"""Floor 2. The only things that change while we run. Each holder: observe(fact) and a read."""
