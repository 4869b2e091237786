# The demo in a container without a GPU: docker build -t hpnet . && docker run --rm -v "$PWD/report:/hpnet/report" hpnet
# It was not built, because no Docker daemon runs on the machine where hpnet is developed.
FROM python:3.11-slim-bookworm

# libGL and glib are read by OpenCV, make and git by the Makefile and DVC, build-essential by packages without a wheel.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends build-essential git libgl1 libglib2.0-0 make \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /hpnet
COPY pyproject.toml constraints.txt Makefile README.md LICENSE ./
COPY hpnet ./hpnet
COPY stages ./stages

# torch for the CPU: give the index that PyTorch's installation page names for it, or leave it empty for torch's usual package.
# Without its dependencies, because that index may not have their pinned versions; make setup adds them.
ARG TORCH_INDEX=""
RUN python -m venv .venv \
    && if [ -n "$TORCH_INDEX" ]; then \
         .venv/bin/pip install --no-cache-dir --no-deps -c constraints.txt --index-url "$TORCH_INDEX" torch torchvision; \
       fi \
    && make setup

COPY . .
# DVC works in a git repository; the image has none of the host's history.
RUN git init --quiet && git add --all \
    && git -c user.name=hpnet -c user.email=hpnet@localhost commit --quiet --message "The demo"

CMD ["make", "demo"]
