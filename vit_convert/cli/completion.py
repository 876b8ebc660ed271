"""vit-convert completion."""

from __future__ import annotations

import click

from vit_convert.cli import console

PROGRAM = "vit-convert"
VARIABLE = "_VIT_CONVERT_COMPLETE"  # where click looks, from the program's name


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what makes a shell complete commands, options and file names.

    \b
    bash: eval "$(vit-convert completion bash)"                          in ~/.bashrc
    zsh:  eval "$(vit-convert completion zsh)"                           in ~/.zshrc
    fish: vit-convert completion fish > ~/.config/fish/completions/vit-convert.fish
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None  # the choices are click's
    console.out(found(ctx.find_root().command, {}, PROGRAM, VARIABLE).source())
