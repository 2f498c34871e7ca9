"""What is measured, against whom, and how: `make bench`, `results/bench.json`.

Conventions. A row compares two ways of doing the same; each is a *contender*, a process of its own with its own threads, backend
and memory (`worker`). All contenders of a row are warmed up, then run by turns, at least five times each, so that what else
the machine does meets all of them; a row's ratio is the others' median time, or memory, over ours: above 1 we are better. Every
single measurement is kept. Goals are issue 10's; one that is missed is printed as missed.

    worker          a contender's process, and how contenders take turns
    contenders      what is run: this library, plain Keras, scikit-image, the papers' loops
    torch_networks  the papers' networks in PyTorch
    rows            the rows: which contenders, how much work, which goal
    report          the file, its form, the table, the comparison of two files
    preparation     photographs against ImageMagick
    gpu             training on one GPU, with JAX; by itself: KERAS_BACKEND=jax python -m benchmarks.gpu
    networks        the networks at the papers' sizes, and the arithmetic of a training step
"""
