import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { temporaryFolder } from '../../test/support/temporary.ts';
import { Memory3Error } from '../errors.ts';
import { GraphBuilder } from '../graph/graph.ts';
import { writeOnnx } from '../graph/onnx.ts';
import { Device, type SessionModel, type TensorData } from './device.ts';
import { deviceFailure } from './failure.ts';
import { type OperatorProfile, takeProfiles } from './profile.ts';

const device = new Device({ threads: 1 });
after(() => device[Symbol.asyncDispose]());

const cache = ['batch', 2, 'rows', 3] as const;

/** Gives back the two arrays of its state, and `x` of the same width as rows to append to both. */
function cacheModel(): SessionModel {
  const builder = new GraphBuilder('cache');
  for (const name of ['keys', 'values']) {
    builder.output(builder.input(name, 'float32', cache), `${name}_out`, 'float32', cache);
  }
  const x = builder.input('x', 'float32', ['arrays_batch', 2, 'new', 3]);
  const doubled = builder.apply('Add', [x, x]);
  builder.output(doubled, 'doubled', 'float32', ['arrays_batch', 2, 'new', 3]);
  return writeOnnx(builder.finish());
}

/** x + x, repeated; `[n, n]` products keep a core busy. */
function busyModel(): SessionModel {
  const builder = new GraphBuilder('busy');
  let x = builder.input('x', 'float32', ['n', 'n']);
  for (let i = 0; i < 20; i++) x = builder.apply('MatMul', [x, x]);
  builder.output(x, 'y', 'float32', ['n', 'n']);
  return writeOnnx(builder.finish());
}

const square = (n: number): Record<string, TensorData> => ({
  x: { type: 'float32', shape: [n, n], data: new Float32Array(n * n) },
});

const names = ['keys', 'values'];
const nothing = (): TensorData => ({ type: 'float32', shape: [0, 2, 0, 3], data: new Float32Array(0) });

async function stateOfTwo(batch: number, rows: number): Promise<number> {
  return device.state(names.map((name) => ({ name, shape: [batch, 2, rows, 3] as const })));
}

describe('a state', () => {
  let session: Promise<number> | undefined;
  const read = async (state: number) => {
    session ??= device.session(cacheModel());
    const request = { session: await session, states: [state], inputs: { x: nothing() } };
    const { keys_out: keys, values_out: values } = await device.run({
      ...request,
      outputs: ['keys_out', 'values_out'],
    });
    return [keys, values] as [TensorData, TensorData];
  };
  /** Which of the cells of one array are what, as `[batch, heads, rows]` of the first number of each row. */
  const firsts = ({ shape, data }: TensorData) =>
    Array.from({ length: data.length / (shape[3] as number) }, (_, row) => Number(data[row * 3]));

  it('begins with zeros and takes rows where they are told to go, in one batch element', async () => {
    const state = await stateOfTwo(2, 4);
    // [names, heads, 2 rows, width]: keys 1.., values 101..
    const data = Float32Array.from({ length: 2 * 2 * 2 * 3 }, (_, i) => (i < 12 ? 1 + i : 101 + i - 12));
    await device.write(state, 1, { names, rows: Int32Array.of(2, 1) }, { type: 'float32', data });
    const [keys, values] = await read(state);
    assert.deepEqual(keys.shape, [2, 2, 4, 3]);
    assert.deepEqual(firsts(keys), [0, 0, 0, 0, 0, 0, 0, 0, /* element 1 */ 0, 0, 1, 4, 0, 0, 7, 10]);
    assert.deepEqual(firsts(values), [0, 0, 0, 0, 0, 0, 0, 0, /* element 1 */ 0, 101, 104, 0, 0, 107, 110, 0]);
    assert.equal(data[0], 1, 'the data stays the caller’s');
  });

  it('takes rows as halves and as codes with scales', async () => {
    const rows = Int32Array.of(0, 0);
    const state = await stateOfTwo(1, 2);
    const numbers = Array.from({ length: 24 }, (_, i) => i - 12);
    const halves = new Uint16Array(Float16Array.from(numbers, (number) => number / 4).buffer);
    await device.write(state, 0, { names, rows }, { type: 'float16', data: halves });
    const [keys, values] = await read(state);
    assert.deepEqual(
      [...keys.data, ...values.data],
      numbers.map((number) => number / 4),
    );
    const scales = new Uint16Array(Float16Array.from({ length: 8 }, (_, row) => row / 2).buffer);
    await device.write(state, 0, { names, rows }, { type: 'int8', codes: Int8Array.from(numbers), scales });
    const [scaledKeys, scaledValues] = await read(state);
    const expected = numbers.map((number, i) => number * (Math.floor(i / 3) / 2));
    // Compared as numbers: a zero scale may leave a negative zero.
    assert.ok([...scaledKeys.data, ...scaledValues.data].every((value, i) => Number(value) === expected[i]));
  });

  it('keeps its rows when it grows and when it shrinks, array by array', async () => {
    const state = await stateOfTwo(1, 2);
    const data = Float32Array.from({ length: 24 }, (_, i) => 1 + i);
    await device.write(state, 0, { names, rows: Int32Array.of(0, 0) }, { type: 'float32', data });
    await device.resize(state, { keys: 4 });
    const [keys, values] = await read(state);
    assert.deepEqual(firsts(keys), [1, 4, 0, 0, 7, 10, 0, 0]);
    assert.deepEqual(firsts(values), [13, 16, 19, 22]);
    await device.resize(state, { keys: 1, values: 3 });
    const [shorter, longer] = await read(state);
    assert.deepEqual(firsts(shorter), [1, 7]);
    assert.deepEqual(firsts(longer), [13, 16, 0, 19, 22, 0]);
  });

  it('takes the rows that a run computed, each sequence at its own place', async () => {
    const state = await stateOfTwo(2, 3);
    session ??= device.session(cacheModel());
    const x = Float32Array.from({ length: 2 * 2 * 2 * 1 * 3 }, (_, i) => i + 1);
    const results = await device.run({
      session: await session,
      states: [state],
      inputs: { x: { type: 'float32', shape: [4, 2, 1, 3], data: x } },
      outputs: [],
      append: { state, output: 'doubled', names, rows: Int32Array.of(0, 2, 1, 0) },
    });
    assert.deepEqual(results, {});
    const [keys, values] = await read(state);
    assert.deepEqual(firsts(keys), [2, 0, 0, 8, 0, 0, /* element 1 */ 0, 0, 14, 0, 0, 20]);
    assert.deepEqual(firsts(values), [0, 26, 0, 0, 32, 0, /* element 1 */ 38, 0, 0, 44, 0, 0]);
  });

  it('refuses rows outside of it and names that it does not have', async () => {
    const state = await stateOfTwo(1, 4);
    const write = (element: number, rows: number[], given = names) =>
      device.write(
        state,
        element,
        { names: given, rows: Int32Array.from(rows) },
        { type: 'float32', data: new Float32Array(given.length * 12) },
      );
    await assert.rejects(write(0, [0, 3]), /rows 3\.\.5 of "values" are outside its 4/);
    await assert.rejects(write(0, [-1, 0]), /rows -1\.\.1 of "keys"/);
    await assert.rejects(write(1, [0, 0]), /outside/);
    await assert.rejects(write(0, [0, 0], ['keys', 'queries']), /no array "queries"/);
    await assert.rejects(device.resize(state, { queries: 8 }), /no array "queries"/);
    session ??= device.session(cacheModel());
    const request = { session: await session, states: [state], outputs: [] };
    const append = { state, output: 'doubled', names, rows: Int32Array.of(4, 0) };
    const inputs = { x: { type: 'float32', shape: [2, 2, 1, 3], data: new Float32Array(12) } } as const;
    await assert.rejects(device.run({ ...request, inputs, append }), /rows 4\.\.5 of "keys" are outside its 4/);
    await device.release(state);
    await assert.rejects(device.run({ ...request, inputs }), new RegExp(`no state ${state}`));
  });
});

describe('a state that is trained', () => {
  const arrays = () => [
    { name: 'w', shape: [2, 3], data: Float32Array.of(1, -2, 3, -4, 5, -6) },
    { name: 'b', shape: [2] },
  ];
  /** y = x + 1, and the same flat. */
  const plusOne = (shape: readonly (number | string)[]) => {
    const builder = new GraphBuilder('plus one');
    const y = builder.apply('Add', [builder.input('w', 'float32', shape), builder.number(1)]);
    builder.output(y, 'y', 'float32', shape);
    return writeOnnx(builder.finish());
  };
  const readAll = async (state: number) => (await device.read(state, ['w', 'b'])).map((data) => [...data]);

  it('begins with the data that it is given, which it takes over, and gives copies back', async () => {
    const given = arrays();
    const state = await device.state(given);
    assert.equal(given[0]?.data?.length, 0, 'the data was handed over');
    const [first] = await device.read(state, ['w']);
    (first as Float32Array).fill(7);
    assert.deepEqual(await readAll(state), [
      [1, -2, 3, -4, 5, -6],
      [0, 0],
    ]);
    await assert.rejects(device.read(state, ['v']), /no array "v"/);
    const wrong = [{ name: 'w', shape: [2, 2], data: new Float32Array(3) }];
    await assert.rejects(device.state(wrong), /"w" has 3 numbers, which is not \[2,2\]/);
  });

  it('can be cleared, and its squares added up', async () => {
    const state = await device.state(arrays());
    assert.equal(await device.sumOfSquares(state), 1 + 4 + 9 + 16 + 25 + 36);
    await device.clear(state);
    assert.equal(await device.sumOfSquares(state), 0);
    assert.deepEqual(await readAll(state), [
      [0, 0, 0, 0, 0, 0],
      [0, 0],
    ]);
  });

  it('adds squares in more than single precision', async () => {
    // 2^24 + 1 is no f32.
    const data = Float32Array.from([4096, ...Array.from({ length: 100 }, () => 1)]);
    const state = await device.state([{ name: 'w', shape: [101], data }]);
    assert.equal(await device.sumOfSquares(state), 2 ** 24 + 100);
  });

  it('feeds runs, and keeps the sum of what they give', async () => {
    const [weights, sums] = [await device.state(arrays()), await device.state([{ name: 'sum', shape: [2, 3] }])];
    const session = await device.session(plusOne([2, 3]));
    const request = { session, inputs: {}, states: [weights] };
    const keep = { state: sums, arrays: { y: 'sum' } };
    assert.deepEqual(await device.run({ ...request, outputs: [], keep }), {});
    const { y } = await device.run({ ...request, outputs: ['y'], keep });
    assert.deepEqual([...(y as TensorData).data], [2, -1, 4, -3, 6, -5]);
    assert.deepEqual([...((await device.read(sums, ['sum']))[0] as Float32Array)], [4, -2, 8, -6, 12, -10]);
    assert.deepEqual((await readAll(weights))[0], [1, -2, 3, -4, 5, -6]);
    const refuses = (arrayNames: Record<string, string>, message: RegExp) =>
      assert.rejects(device.run({ ...request, outputs: [], keep: { state: sums, arrays: arrayNames } }), message);
    await refuses({ y: 'other' }, /no array "other"/);
    const small = await device.state([{ name: 'sum', shape: [2] }]);
    const wrong = device.run({ ...request, outputs: [], keep: { ...keep, state: small } });
    await assert.rejects(wrong, /6 numbers were to be added to "sum"/);
  });

  it('is swept: a session replaces arrays of any size slice by slice', async () => {
    // More than one slice, and a rest.
    const length = 3 * 2 ** 18 + 5;
    const [weights, others, results] = [
      await device.state([
        { name: 'a', shape: [length], data: Float32Array.from({ length }, (_, i) => i) },
        { name: 'b', shape: [2, 1], data: Float32Array.of(5, 6) },
        { name: 'untouched', shape: [1], data: Float32Array.of(9) },
      ]),
      await device.state([
        { name: 'a', shape: [length], data: new Float32Array(length).fill(0.5) },
        { name: 'b', shape: [2, 1], data: Float32Array.of(1, 2) },
      ]),
      await device.state([
        { name: 'a', shape: [length] },
        { name: 'b', shape: [2, 1] },
      ]),
    ];
    const builder = new GraphBuilder('sweep');
    const [x, y] = [builder.input('x', 'float32', ['n']), builder.input('y', 'float32', ['n'])];
    const factor = builder.input('factor', 'float32', [1]);
    const sum = builder.apply('Add', [builder.apply('Mul', [x, factor]), y]);
    builder.output(sum, 'sum', 'float32', ['n']);
    builder.output(builder.apply('Sub', [x, y]), 'difference', 'float32', ['n']);
    const session = await device.session(writeOnnx(builder.finish()));
    await device.sweep({
      session,
      inputs: { factor: { type: 'float32', shape: [1], data: Float32Array.of(2) } },
      names: ['a', 'b'],
      feeds: { x: weights, y: others },
      outputs: { sum: weights, difference: results },
    });
    const [a, b, untouched] = await device.read(weights, ['a', 'b', 'untouched']);
    assert.ok((a as Float32Array).every((value, i) => value === Math.fround(2 * i + 0.5)));
    assert.deepEqual([...(b as Float32Array), ...(untouched as Float32Array)], [11, 14, 9]);
    const [difference, small] = await device.read(results, ['a', 'b']);
    assert.ok((difference as Float32Array).every((value, i) => value === Math.fround(i - 0.5)));
    assert.deepEqual([...(small as Float32Array)], [4, 4]);
    await assert.rejects(
      device.sweep({ session, inputs: {}, names: ['c'], feeds: { x: weights }, outputs: {} }),
      /no array "c"/,
    );
  });
});

describe('a device', () => {
  it('says which runtime it is', async () => {
    const { version, providers } = await device.about();
    assert.match(version, /^\d+\.\d+\.\d+$/);
    assert.ok(providers.some(({ name, bundled }) => name === 'cpu' && bundled));
  });

  it('leaves the main thread free while it computes', async () => {
    const session = await device.session(busyModel());
    let ticks = 0;
    let done = false;
    const running = device.run({ session, inputs: square(512), outputs: ['y'] }).then(() => {
      done = true;
    });
    while (!done) {
      await setTimeout(1);
      ticks++;
    }
    await running;
    assert.ok(ticks > 3, `${ticks} ticks`);
    await device.release(session);
  });

  it('answers in the order in which it was asked', async () => {
    const session = await device.session(busyModel());
    const order: string[] = [];
    const ask = async (name: string, n: number) => {
      await device.run({ session, inputs: square(n), outputs: ['y'] });
      order.push(name);
    };
    await Promise.all([ask('long', 256), ask('short', 2), ask('middle', 64)]);
    assert.deepEqual(order, ['long', 'short', 'middle']);
  });

  it('names what is wrong with a request, and goes on', async () => {
    const session = await device.session(cacheModel());
    const state = await stateOfTwo(1, 1);
    const fails = (inputs: Record<string, TensorData>, outputs: string[], message: RegExp, handle = session) =>
      assert.rejects(device.run({ session: handle, states: [state], inputs, outputs }), (error: Error) => {
        assert.match(error.message, message);
        return true;
      });
    await fails({}, ['doubled'], /input 'x' is missing/);
    await fails({ x: nothing() }, ['tripled'], /tripled/);
    await fails(
      { x: { type: 'float32', shape: [1, 2, 1, 4], data: new Float32Array(8) } },
      ['doubled'],
      /invalid dimensions for input: x/,
    );
    await fails({ x: { type: 'float32', shape: [1, 2, 1, 3], data: new Float32Array(7) } }, ['doubled'], /6.*7/);
    await fails({ x: nothing() }, ['doubled'], /no session 12345/, 12345);
    const { doubled } = await device.run({ session, states: [state], inputs: { x: nothing() }, outputs: ['doubled'] });
    assert.deepEqual(doubled?.shape, [0, 2, 0, 3]);
    await device.release(session);
    await fails({ x: nothing() }, ['doubled'], new RegExp(`no session ${session}`));
  });

  it('refuses bytes that are no model, and operators that the runtime lacks', async () => {
    const rejects = (model: SessionModel, code: string, message: RegExp) =>
      assert.rejects(device.session(model), (error) => {
        assert.ok(error instanceof Memory3Error);
        assert.equal(error.code, code);
        assert.match(error.message, message);
        return true;
      });
    await rejects({ model: new Uint8Array(10).fill(255) }, 'damaged', /could not load a model: .*protobuf/);
    const builder = new GraphBuilder('unknown');
    const x = builder.input('x', 'float32', [1]);
    builder.output(builder.apply('Frobnicate', [x]), 'y', 'float32', [1]);
    await rejects(writeOnnx(builder.finish()), 'unsupported', /No Op registered for Frobnicate/);
  });

  it('says that memory ran out', async () => {
    await assert.rejects(device.state([{ name: 'keys', shape: [1, 1, 1e6, 1e6] }]), (error) => {
      assert.ok(error instanceof Memory3Error);
      assert.match(error.message, /ran out of memory\.\nRead less at once/);
      return true;
    });
  });

  it('may be closed as soon as it is made, while its worker still loads', () => {
    // In a process of its own: what goes wrong here ends the whole of it, in about every third run.
    const program = `
      import { Device } from ${JSON.stringify(new URL('./device.ts', import.meta.url))};
      for (let i = 0; i < 24; i++) {
        await using device = new Device({ threads: 1 });
        await new Promise((resolve) => setTimeout(resolve, i * 8));
      }
      console.log('closed');`;
    const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
      encoding: 'utf8',
    });
    assert.deepEqual([stdout, stderr], ['closed\n', '']);
  });

  it('rejects what it has not answered when it is closed, and all that comes later', async () => {
    const own = new Device({ threads: 1 });
    const session = await own.session(busyModel());
    const pending = [1, 2].map(() => own.run({ session, inputs: square(512), outputs: ['y'] }));
    const rejected = pending.map((run) => assert.rejects(run, /device was closed/));
    await Promise.all([own[Symbol.asyncDispose](), own[Symbol.asyncDispose]()]);
    await Promise.all(rejected);
    await assert.rejects(own.about(), /device was closed/);
    // Nothing is left to be freed, and whoever cleans up must not hide what went wrong before.
    await own.release(session);
    await own[Symbol.asyncDispose]();
  });

  it('does not keep a program alive that has nothing more to do, whatever it asked', () => {
    const module = JSON.stringify(new URL('device.ts', import.meta.url));
    const program = `import { Device } from ${module}; const device = new Device(); const { version } = await device.about();
      await device.read(0, [() => {}]).catch(({ name }) => console.error(name)); console.log(version);`;
    const child = spawnSync(process.execPath, ['--input-type=module', '--eval', program], {
      encoding: 'utf8',
      timeout: 60_000,
    });
    assert.equal(child.stderr, 'DataCloneError\n');
    assert.equal(child.status, 0);
    assert.match(child.stdout, /^\d+\.\d+\.\d+\n$/);
  });

  it('profiles a session when it is asked to: operators, providers, runs', async () => {
    using folder = temporaryFolder();
    const profilePrefix = join(folder.path, 'profile');
    const session = await device.session({ ...busyModel(), profilePrefix });
    for (let i = 0; i < 3; i++) await device.run({ session, inputs: square(8), outputs: ['y'] });
    await device.release(session);
    const profiles = takeProfiles(profilePrefix);
    const products = profiles.filter(({ operator }) => /MatMul/.test(operator));
    assert.equal(products.length, 1);
    const { milliseconds, ...product } = products[0] as OperatorProfile;
    const expected = { provider: 'CPUExecutionProvider', operator: 'MatMul', shapes: false, nodes: 20, runs: 60 };
    assert.deepEqual(product, expected);
    assert.ok(milliseconds > 0);
    assert.deepEqual(takeProfiles(profilePrefix), []);
  });
});

describe('a device of another provider', () => {
  it('says how to get CUDA’s libraries where they are missing', async (test) => {
    const { providers } = await device.about();
    if (!providers.some(({ name }) => name === 'cuda')) return test.skip('there is no CUDA for this platform');
    const library = '../../node_modules/onnxruntime-node/bin/napi-v6/linux/x64/libonnxruntime_providers_cuda.so';
    if (existsSync(new URL(library, import.meta.url))) return test.skip('CUDA’s libraries are here');
    await using cuda = new Device({ provider: 'cuda' });
    await assert.rejects(cuda.session(cacheModel()), (error) => {
      assert.ok(error instanceof Memory3Error);
      assert.equal(error.code, 'unsupported');
      assert.match(error.message, /cuda’s libraries were not found/);
      assert.match(error.remedy ?? '', /ONNXRUNTIME_NODE_INSTALL=true npm rebuild onnxruntime-node/);
      return true;
    });
  });

  it('turns the runtime’s messages into remedies', () => {
    const of = (...args: Parameters<typeof deviceFailure>) => deviceFailure(...args) as Memory3Error;
    const noAdapter = 'webgpu_context.cc:136 ... Failed to get a WebGPU adapter: No supported adapters';
    assert.match(of('webgpu', 'session', noAdapter).remedy ?? '', /Vulkan[\s\S]*apt-get install/);
    const notHere = 'no available backend found. ERR: [webgpu] backend not found.';
    assert.match(of('webgpu', 'session', notHere).message, new RegExp(`no webgpu for ${process.platform}`));
    assert.match(of('webgpu', 'run', 'Device lost').message, /webgpu device failed: Device lost\nUse --device cpu/);
    const cutOff = 'Load model failed: Protobuf parsing failed.';
    for (const provider of ['cpu', 'webgpu'] as const) assert.equal(of(provider, 'session', cutOff).code, 'damaged');
    const cudaMemory = 'Failed to allocate memory for requested buffer of size 1440000';
    assert.match(of('cuda', 'run', cudaMemory).message, /The cuda device failed: it ran out of memory/);
    // A fault of the program is no Memory3Error: nobody but a programmer can do something about it.
    assert.ok(!(of('cpu', 'run', "input 'x' is missing in 'feeds'.") instanceof Memory3Error));
  });
});
