/** The device's worker thread: the only module that imports ONNX Runtime. Answers commands one after the other. */
import { parentPort } from 'node:worker_threads';
import { env, InferenceSession, listSupportedBackends, Tensor } from 'onnxruntime-node';
import type {
  Command,
  ExecutionProvider,
  RunRequest,
  RuntimeInfo,
  SessionModel,
  StateArray,
  StateRows,
  TensorData,
} from './device.ts';
import { type RowValues, valueCount, widenRows } from './rows.ts';

interface MutableArray {
  readonly name: string;
  shape: [batch: number, heads: number, rows: number, width: number];
  data: Float32Array;
  /** Made once for each allocation: the runtime reads the array behind it at every run. */
  tensor: Tensor;
}

interface OpenSession {
  readonly session: InferenceSession;
  readonly profiled: boolean;
}

const sessions = new Map<number, OpenSession>();
const states = new Map<number, Map<string, MutableArray>>();
let nextHandle = 0;

function about(): RuntimeInfo {
  const { node, common } = env.versions;
  return {
    version: node ?? common,
    providers: listSupportedBackends().map(({ name, bundled }) => ({ name, bundled })),
  };
}

async function createSession(model: SessionModel, provider: ExecutionProvider, threads: number): Promise<number> {
  const session = await InferenceSession.create(model.model, {
    executionProviders: provider === 'cpu' ? ['cpu'] : [provider, 'cpu'],
    // Errors only: that shapes are computed on the CPU is no news for a user's terminal.
    logSeverityLevel: 3,
    // Each session has threads of its own, which would go on spinning after a run and take the cores from the next
    // session: measured, a question's embedding took a third and its prompt a quarter longer.
    extra: { session: { force_spinning_stop: '1' } },
    ...(threads > 0 ? { intraOpNumThreads: threads } : {}),
    ...(model.externalData === undefined ? {} : { externalData: model.externalData }),
    ...(model.profilePrefix === undefined ? {} : { enableProfiling: true, profileFilePrefix: model.profilePrefix }),
  });
  const handle = nextHandle++;
  sessions.set(handle, { session, profiled: model.profilePrefix !== undefined });
  return handle;
}

async function release(handle: number): Promise<void> {
  const open = sessions.get(handle);
  if (open?.profiled) open.session.endProfiling();
  await open?.session.release();
  sessions.delete(handle);
  states.delete(handle);
}

function allocate(name: string, shape: MutableArray['shape']): MutableArray {
  const data = new Float32Array(shape[0] * shape[1] * shape[2] * shape[3]);
  return { name, shape, data, tensor: new Tensor('float32', data, shape) };
}

function createState(arrays: readonly StateArray[]): number {
  const handle = nextHandle++;
  states.set(handle, new Map(arrays.map(({ name, shape }) => [name, allocate(name, [...shape])])));
  return handle;
}

function stateOf(handle: number): Map<string, MutableArray> {
  const state = states.get(handle);
  if (state === undefined) throw new Error(`there is no state ${handle}`);
  return state;
}

function arrayOf(state: Map<string, MutableArray>, name: string): MutableArray {
  const array = state.get(name);
  if (array === undefined) throw new Error(`the state has no array "${name}"`);
  return array;
}

function resize(handle: number, rows: Readonly<Record<string, number>>): void {
  const state = stateOf(handle);
  for (const [name, count] of Object.entries(rows)) {
    const old = arrayOf(state, name);
    const [batch, heads, oldRows, width] = old.shape;
    const grown = allocate(name, [batch, heads, count, width]);
    const kept = Math.min(oldRows, count) * width;
    for (let plane = 0; plane < batch * heads; plane++) {
      const start = plane * oldRows * width;
      grown.data.set(old.data.subarray(start, start + kept), plane * count * width);
    }
    state.set(name, grown);
  }
}

/**
 * Copies rows of `source` `[names, batch, heads, length, width]` into a state's arrays, where `batch` covers the elements
 * from `firstBatch` on.
 */
function writeRows(
  state: Map<string, MutableArray>,
  { names, rows }: StateRows,
  source: Float32Array,
  firstBatch: number,
): void {
  const batchCount = rows.length / names.length;
  let read = 0;
  for (const [index, name] of names.entries()) {
    const { shape, data } = arrayOf(state, name);
    const [batch, heads, capacity, width] = shape;
    const planeLength = source.length / (names.length * batchCount * heads);
    for (let element = 0; element < batchCount; element++) {
      const row = rows[index * batchCount + element] as number;
      if (firstBatch + element >= batch || row < 0 || row + planeLength / width > capacity) {
        throw new Error(`rows ${row}..${row + planeLength / width} of "${name}" are outside its ${capacity}`);
      }
      for (let head = 0; head < heads; head++) {
        const plane = ((firstBatch + element) * heads + head) * capacity;
        data.set(source.subarray(read, read + planeLength), (plane + row) * width);
        read += planeLength;
      }
    }
  }
}

/** Reused for every write: fresh memory of a few megabytes costs more than widening does. */
let scratch = new Float32Array(0);

function widened(values: RowValues): Float32Array {
  if (values.type === 'float32') return values.data;
  const count = valueCount(values);
  if (scratch.length < count) scratch = new Float32Array(count);
  widenRows(values, scratch);
  return scratch.subarray(0, count);
}

async function run({ session: handle, inputs, state: stateHandle, outputs, append }: RunRequest) {
  const session = sessions.get(handle)?.session;
  if (session === undefined) throw new Error(`there is no session ${handle}`);
  const feeds: Record<string, Tensor> = {};
  for (const [name, { type, data, shape }] of Object.entries(inputs)) feeds[name] = new Tensor(type, data, shape);
  const state = stateHandle === undefined ? undefined : stateOf(stateHandle);
  for (const array of state?.values() ?? []) feeds[array.name] = array.tensor;
  const fetches = append === undefined ? outputs : [...outputs, append.output];
  const results = await session.run(feeds, [...fetches]);
  if (append !== undefined && state !== undefined) {
    writeRows(state, append, results[append.output]?.data as Float32Array, 0);
  }
  const answers: Record<string, TensorData> = {};
  for (const name of outputs) {
    const { type, dims, data } = results[name] as Tensor;
    answers[name] = { type, shape: dims, data } as TensorData;
  }
  return answers;
}

async function answer(command: Command): Promise<unknown> {
  switch (command.kind) {
    case 'about':
      return about();
    case 'session':
      return createSession(command.model, command.provider, command.threads);
    case 'release':
      return release(command.id);
    case 'state':
      return createState(command.arrays);
    case 'resize':
      return resize(command.state, command.rows);
    case 'write':
      return writeRows(stateOf(command.state), command.rows, widened(command.values), command.batch);
    case 'run':
      return run(command.request);
  }
}

let last: Promise<void> = Promise.resolve();
parentPort?.on('message', ({ id, command }: { id: number; command: Command }) => {
  last = last.then(async () => {
    try {
      const value = await answer(command);
      const transfer = command.kind === 'run' ? buffersOf(value as Record<string, TensorData>) : [];
      parentPort?.postMessage({ id, value }, transfer);
    } catch (error) {
      parentPort?.postMessage({ id, error: error instanceof Error ? error.message : String(error) });
    }
  });
});

function buffersOf(outputs: Record<string, TensorData>): ArrayBuffer[] {
  return Object.values(outputs).map(({ data }) => data.buffer as ArrayBuffer);
}
