"""Start a command of the plugin with the libraries beside this file.

It is the first thing that any Python 3 reads, so it has to be readable for old ones, too.
"""

import os
import sys


def main() -> None:
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "pythons")) as file:
        supported = file.read().split()
    if "%d.%d" % sys.version_info[:2] not in supported:
        _start_another(supported)
    sys.argv = sys.argv[1:]
    sys.path.insert(0, os.path.join(here, "lib"))
    if sys.argv[0] == "kubectl_complete-springline":
        from springline.plugin.completion import main as command
    else:
        from springline.entry import kubectl_springline as command
    command()


def _start_another(supported: "list[str]") -> None:
    """Go on in a Python that there are compiled libraries for; end with 2 if there is none."""
    for version in reversed(supported):
        for directory in os.environ.get("PATH", os.defpath).split(os.pathsep):
            path = os.path.join(directory, "python" + version)
            if os.access(path, os.X_OK) and _is(version, path):
                os.execv(path, [path, "-I", "-S"] + sys.argv)
    sys.stderr.write(
        "error: kubectl springline needs Python %s; %s is %d.%d, and there is no other in PATH\n"
        % ((", ".join(supported), sys.executable) + sys.version_info[:2])
    )
    sys.exit(2)


def _is(version: str, path: str) -> bool:
    """Whether it is a Python of that version; a shim of pyenv may only say that it is none."""
    import subprocess  # seldom needed, and it takes its time

    code = "import sys; sys.exit('%d.%d' % sys.version_info[:2] != sys.argv[1])"
    with open(os.devnull, "w") as nowhere:
        command = [path, "-I", "-S", "-c", code, version]
        return subprocess.call(command, stdout=nowhere, stderr=nowhere) == 0


if __name__ == "__main__":
    main()
