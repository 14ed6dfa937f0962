# CPU: docker build -t gan_jax .
# GPU: docker build -t gan_jax:cuda12 --build-arg EXTRAS=cuda12 .  The wheels contain CUDA; the host
# has the driver and the NVIDIA container toolkit. docs/getting_started.md has the commands.
ARG PYTHON=3.12
FROM python:${PYTHON}-slim
ARG EXTRAS=""

WORKDIR /opt/gan_jax
COPY constraints.txt LICENSE README.md pyproject.toml setup.cfg setup.py ./
COPY configs configs
COPY experiments experiments
COPY gan_jax gan_jax
COPY scripts scripts
RUN pip install --no-cache-dir -c constraints.txt ".${EXTRAS:+[$EXTRAS]}"

# A container that is run as any user (--user) can write its cache; mount a volume to keep it.
ENV GAN_JAX_CACHE=/cache HOME=/tmp
RUN mkdir -m 1777 /cache
VOLUME /cache
WORKDIR /work
ENTRYPOINT ["gan-jax"]
