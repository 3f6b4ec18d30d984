#!/bin/sh
# Install isdu-bids into /opt/isdu-bids: the steps of Dockerfile and singularity.def.
#
#   docker/install.sh dependencies data app
#
# By environment: TORCH (cpu or cuda), SYNTHSEG and TEMPLATE (0 or 1), VERSION.
set -eu
home=/opt/isdu-bids
share=$home/share
torch=2.13.0

install() {
    # Only docopt has no wheel, and it needs no compiler.
    pip --python "$home/bin/python" install --no-cache-dir --root-user-action ignore \
        --only-binary=:all: --no-binary=docopt "$@"
}

dependencies() {
    python -m venv --without-pip "$home"
    case $TORCH in
        cpu) install --no-deps --index-url https://download.pytorch.org/whl/cpu "torch==$torch+cpu" ;;
        cuda) install -c docker/requirements.txt "torch===$torch" ;; # ===: no other build of it
        *) echo "TORCH is $TORCH; it must be cpu or cuda" >&2 && exit 64 ;;
    esac
    install -r docker/requirements.txt
    if [ "$TEMPLATE" = 1 ]; then install --no-deps -r docker/requirements-template.txt; fi
    # A sixth of what is installed is the packages' own tests, and headers for compilers.
    find "$home" -type d -name tests -prune -exec rm -r {} +
    rm -rf "$home"/lib/python3.*/site-packages/torch/include "$home"/lib/python3.*/site-packages/torch/test
}

data() {
    mkdir -p "$share/freesurfer" "$share/templateflow"
    if [ "$SYNTHSEG" = 1 ]; then python docker/fetch.py synthseg "$share/freesurfer"; fi
    if [ "$TEMPLATE" = 1 ]; then python docker/fetch.py template "$share/templateflow"; fi
}

app() {
    install --no-deps .
    pip --python "$home/bin/python" check
    # Try what is installed, away from the sources. The demonstration also leaves the code that
    # numba compiles, for any processor, so that no scan has to wait for it.
    (
        cd /
        export PATH="$home/bin:$PATH" NUMBA_CACHE_DIR="$share/numba" NUMBA_CPU_NAME=generic
        test "$(isdu-bids --version)" = "isdu-bids $VERSION"
        isdu-qsm weights verify
        isdu-qsm demo /tmp/demo
        rm -r /tmp/demo
    )
}

for step; do "$step"; done
