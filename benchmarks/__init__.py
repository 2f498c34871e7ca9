"""What is measured, against whom, and how: `make bench`, `results/bench.json`.

A row compares two ways of doing the same thing. Each is a *contender*: a process with its own threads, backend, and memory
(`worker`). All contenders of a row are warmed up and then run in turns, at least five times each, so that whatever else the machine
does affects them equally. The ratio of a row is the other's median time, or memory, over ours: above 1, we are better. Every single
measurement is kept. A row that misses its goal is printed as missed.

    worker          a contender's process, and how contenders take turns
    contenders      what is run: this library, plain Keras, scikit-image, the papers' loops
    torch_networks  the papers' networks in PyTorch
    rows            the rows: which contenders, how much work, which goal
    report          the file, its form, its tables, and the comparison of two files
    preparation     photographs against ImageMagick
    gpu             training on one GPU with JAX; on its own: KERAS_BACKEND=jax python -m benchmarks.gpu
    networks        the networks at the papers' sizes, and the arithmetic of a training step
"""
