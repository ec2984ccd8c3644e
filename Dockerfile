# jaxlabel on a CPU, installed from this checkout.
#
#   docker build -t jaxlabel .
#   docker run --rm -v "$PWD/runs:/data/runs" jaxlabel train
#
# Not tested: the machines that run this project's tests have no Docker daemon. The same steps without
# Docker (build the wheel, install it, train in an empty directory) are tested by .ci/wheel.sh.
FROM python:3.12-slim AS build
WORKDIR /src
COPY . .
RUN pip wheel --no-cache-dir --no-deps -w /dist .

FROM python:3.12-slim
COPY constraints.txt /tmp/constraints.txt
COPY --from=build /dist /dist
RUN pip install --no-cache-dir -c /tmp/constraints.txt /dist/jaxlabel-*.whl && rm -r /dist /tmp/constraints.txt
WORKDIR /data
ENTRYPOINT ["jaxlabel"]
CMD ["--help"]
