/** The device's worker thread: the only module that imports ONNX Runtime. Answers commands one after the other. */
import { parentPort } from 'node:worker_threads';
import { env, InferenceSession, listSupportedBackends, Tensor } from 'onnxruntime-node';
import { messageOf } from '../errors.ts';
import type {
  Command,
  ExecutionProvider,
  RunRequest,
  RuntimeInfo,
  SessionModel,
  StateArray,
  SweepRequest,
  TensorData,
} from './device.ts';
import {
  addTo,
  arrayOf,
  clear,
  newState,
  read,
  resize,
  type State,
  sumOfSquares,
  widened,
  writeRows,
} from './states.ts';

interface OpenSession {
  readonly session: InferenceSession;
  readonly profiled: boolean;
}

const sessions = new Map<number, OpenSession>();
const states = new Map<number, State>();
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
    enableMemPattern: model.planMemory ?? true,
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

function sessionOf(handle: number): InferenceSession {
  const session = sessions.get(handle)?.session;
  if (session === undefined) throw new Error(`there is no session ${handle}`);
  return session;
}

function tensorsOf(inputs: Readonly<Record<string, TensorData>>): Record<string, Tensor> {
  return Object.fromEntries(
    Object.entries(inputs).map(([name, { type, data, shape }]) => [name, new Tensor(type, data, shape)]),
  );
}

function createState(arrays: readonly StateArray[]): number {
  const handle = nextHandle++;
  states.set(handle, newState(arrays));
  return handle;
}

function stateOf(handle: number): State {
  const state = states.get(handle);
  if (state === undefined) throw new Error(`there is no state ${handle}`);
  return state;
}

async function run({ session: handle, inputs, states: stateHandles = [], outputs, append, keep }: RunRequest) {
  const session = sessionOf(handle);
  const feeds = tensorsOf(inputs);
  const taken = new Set(session.inputNames);
  for (const state of stateHandles.map(stateOf)) {
    for (const array of state.values()) if (taken.has(array.name)) feeds[array.name] = array.tensor;
  }
  const kept = Object.keys(keep?.arrays ?? {});
  const fetches = [...outputs, ...(append === undefined ? [] : [append.output]), ...kept];
  const results = await session.run(feeds, fetches);
  if (append !== undefined) writeRows(stateOf(append.state), append, floatsOf(results, append.output), 0);
  if (keep !== undefined) {
    const state = stateOf(keep.state);
    for (const [output, name] of Object.entries(keep.arrays)) {
      addTo(arrayOf(state, name), floatsOf(results, output));
    }
  }
  const answers: Record<string, TensorData> = {};
  for (const name of outputs) {
    const { type, dims, data } = results[name] as Tensor;
    answers[name] = { type, shape: dims, data } as TensorData;
  }
  return answers;
}

function floatsOf(results: InferenceSession.OnnxValueMapType, output: string): Float32Array {
  return results[output]?.data as Float32Array;
}

/** Numbers that one run of a sweep takes of each array: small enough for a core's cache, large enough to be worth a run. */
const sweepLength = 1 << 18;

async function sweep({ session: handle, inputs, names, feeds, outputs }: SweepRequest): Promise<void> {
  const session = sessionOf(handle);
  const shared = tensorsOf(inputs);
  const fed = Object.entries(feeds).map(([input, state]) => [input, stateOf(state)] as const);
  const replaced = Object.entries(outputs).map(([output, state]) => [output, stateOf(state)] as const);
  for (const name of names) {
    const { length } = arrayOf(fed[0]?.[1] as State, name).data;
    for (let start = 0; start < length; start += sweepLength) {
      const end = Math.min(start + sweepLength, length);
      const slice = (state: State) => arrayOf(state, name).data.subarray(start, end);
      const slices = fed.map(([input, state]) => [input, new Tensor('float32', slice(state), [end - start])]);
      const results = await session.run({ ...shared, ...Object.fromEntries(slices) }, Object.keys(outputs));
      for (const [output, state] of replaced) slice(state).set(floatsOf(results, output));
    }
  }
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
      return resize(stateOf(command.state), command.rows);
    case 'read':
      return read(stateOf(command.state), command.names);
    case 'clear':
      return clear(stateOf(command.state));
    case 'sum-of-squares':
      return sumOfSquares(stateOf(command.state));
    case 'sweep':
      return sweep(command.request);
    case 'write':
      return writeRows(stateOf(command.state), command.rows, widened(command.values), command.batch);
    case 'run':
      return run(command.request);
  }
}

let last: Promise<void> = Promise.resolve();
// ONNX Runtime is loaded; no command has this number.
parentPort?.postMessage({ id: -1 });

parentPort?.on('message', ({ id, command }: { id: number; command: Command }) => {
  last = last.then(async () => {
    try {
      const value = await answer(command);
      parentPort?.postMessage({ id, value }, buffersOf(command, value));
    } catch (error) {
      parentPort?.postMessage({ id, error: messageOf(error) });
    }
  });
});

/** What an answer may hand over: outputs, and copies of states, are nobody else's. */
function buffersOf({ kind }: Command, value: unknown): ArrayBuffer[] {
  if (kind === 'run')
    return Object.values(value as Record<string, TensorData>).map(({ data }) => data.buffer as ArrayBuffer);
  return kind === 'read' ? (value as Float32Array<ArrayBuffer>[]).map(({ buffer }) => buffer) : [];
}
