/**
 * A device runs graphs in a worker thread and keeps what they need between runs.
 *
 * The main thread never blocks on computation: it sends commands to the worker, which answers them in order. Two kinds
 * of things live in the worker and are named by handles: *sessions* (compiled graphs) and *states* (float32 arrays that
 * are a session's inputs in one run after the other: key-value caches). A state's array is `[batch, heads, rows, width]`;
 * rows are written into it from the main thread (memories) or from a run's output (new key-values), without the array
 * ever leaving the worker. Arrays that are sent are copied, but for a session's constants and a state's first values, which
 * are handed over, as answers are.
 */
import { Worker } from 'node:worker_threads';
import { deviceFailure } from './failure.ts';
import type { RowValues } from './rows.ts';

export const executionProviders = ['cpu', 'webgpu', 'cuda'] as const;
export type ExecutionProvider = (typeof executionProviders)[number];

export type TensorData =
  | { readonly type: 'float32'; readonly shape: readonly number[]; readonly data: Float32Array }
  | { readonly type: 'int64'; readonly shape: readonly number[]; readonly data: BigInt64Array };

/** A serialised ONNX model; its external constants are handed over to the device and must not be used afterwards. */
export interface SessionModel {
  readonly model: Uint8Array;
  readonly externalData?: readonly { readonly path: string; readonly data: Uint8Array }[];
  /**
   * Plan one block of memory for all values of a run, again for each new set of input shapes; default true. Graphs with
   * gigabytes of values and changing shapes are better without: the blocks of earlier shapes stay allocated.
   */
  readonly planMemory?: boolean;
  /** Writes a profile of the runs to files whose names start so; read by `profile.ts`. */
  readonly profilePrefix?: string;
}

/** One array of a state: the session input that it feeds, its shape, and what it begins with (default zeros). */
export interface StateArray {
  readonly name: string;
  /** Rows can be written into arrays `[batch, heads, rows, width]` only. */
  readonly shape: readonly number[];
  readonly data?: Float32Array;
}

/** Rows to write into a state's arrays. */
export interface StateRows {
  /** Arrays to write, in the order of the data. */
  readonly names: readonly string[];
  /** First row for each array and batch element, `[names, batch]`. */
  readonly rows: Int32Array;
}

export interface RunRequest {
  readonly session: number;
  readonly inputs: Readonly<Record<string, TensorData>>;
  /** Their arrays are inputs too, as far as the session has inputs of their names. */
  readonly states?: readonly number[];
  /** Outputs to bring back. */
  readonly outputs: readonly string[];
  /** An output `[names * batch, heads, length, width]` whose rows go into the state after the run. */
  readonly append?: StateRows & { readonly output: string; readonly state: number };
  /** Outputs that are added to arrays of a state after the run: array names by output. */
  readonly keep?: { readonly state: number; readonly arrays: Readonly<Record<string, string>> };
}

/**
 * One session over arrays of any size: it is run on flat slices `[n]` of the arrays called `names` of several states, and
 * its outputs replace the slices.
 */
export interface SweepRequest {
  readonly session: number;
  /** The same in every run. */
  readonly inputs: Readonly<Record<string, TensorData>>;
  readonly names: readonly string[];
  /** States by the input that their slices feed. */
  readonly feeds: Readonly<Record<string, number>>;
  /** States by the output that replaces their slices. */
  readonly outputs: Readonly<Record<string, number>>;
}

/** The runtime behind a device. */
export interface RuntimeInfo {
  /** Version of ONNX Runtime. */
  readonly version: string;
  /** Providers that it knows on this platform; one that is not bundled has to be installed beside it. */
  readonly providers: readonly { readonly name: string; readonly bundled: boolean }[];
}

/** What the main thread asks of the worker. */
export type Command =
  | { readonly kind: 'about' }
  | {
      readonly kind: 'session';
      readonly model: SessionModel;
      readonly provider: ExecutionProvider;
      readonly threads: number;
    }
  | { readonly kind: 'release'; readonly id: number }
  | { readonly kind: 'state'; readonly arrays: readonly StateArray[] }
  | { readonly kind: 'resize'; readonly state: number; readonly rows: Readonly<Record<string, number>> }
  | {
      readonly kind: 'write';
      readonly state: number;
      readonly batch: number;
      readonly rows: StateRows;
      readonly values: RowValues;
    }
  | { readonly kind: 'read'; readonly state: number; readonly names: readonly string[] }
  | { readonly kind: 'clear'; readonly state: number }
  | { readonly kind: 'sum-of-squares'; readonly state: number }
  | { readonly kind: 'sweep'; readonly request: SweepRequest }
  | { readonly kind: 'run'; readonly request: RunRequest };

export interface DeviceOptions {
  readonly provider?: ExecutionProvider;
  /** Threads of one run; 0 lets the runtime take every core. */
  readonly threads?: number;
}

interface PendingCommand {
  readonly kind: Command['kind'];
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/**
 * A worker thread with ONNX Runtime in it. Close it with `await using`.
 *
 * Every method rejects with a `Memory3Error` "unsupported" if memory runs out or the provider cannot work on this machine
 * (the remedy says what is missing), and `session` with "damaged" for bytes that are no model. Once the device is
 * closed, everything that was not answered and everything that is asked later is rejected, but for releases.
 */
export class Device implements AsyncDisposable {
  readonly provider: ExecutionProvider;
  readonly #threads: number;
  readonly #worker: Worker;
  readonly #pending = new Map<number, PendingCommand>();
  /**
   * Commands that the worker has still to answer, those among them that were rejected when the device was closed. The first
   * is none: it says when it has loaded ONNX Runtime.
   */
  #unanswered = 1;
  #idle: PromiseWithResolvers<void> | undefined;
  #next = 0;
  #ended: Error | undefined;

  constructor(options: DeviceOptions = {}) {
    this.provider = options.provider ?? 'cpu';
    this.#threads = options.threads ?? 0;
    // The same module runs as TypeScript from a checkout and as JavaScript from the published package.
    const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
    // The program's own flags (--eval, --input-type) mean nothing to the worker's module.
    this.#worker = new Worker(new URL(`./worker.${extension}`, import.meta.url), { execArgv: [] });
    this.#worker.unref();
    this.#worker.on('message', (answer: { id: number; value?: unknown; error?: string }) => {
      this.#answered(this.#unanswered - 1);
      const request = this.#pending.get(answer.id);
      this.#settled(answer.id);
      if (answer.error === undefined) request?.resolve(answer.value);
      else request?.reject(deviceFailure(this.provider, request.kind, answer.error));
    });
    this.#worker.on('error', (error) => this.#end(error));
    this.#worker.on('exit', (code) => {
      this.#end(new Error(`the device's worker ended with code ${code}`));
      this.#answered(0);
    });
  }

  /** Says which runtime computes. */
  async about(): Promise<RuntimeInfo> {
    return (await this.#send({ kind: 'about' })) as RuntimeInfo;
  }

  /** Compiles a model. @returns its handle. */
  async session(model: SessionModel): Promise<number> {
    const buffers = new Set((model.externalData ?? []).map(({ data }) => data.buffer as ArrayBuffer));
    const command: Command = { kind: 'session', model, provider: this.provider, threads: this.#threads };
    return (await this.#send(command, [...buffers])) as number;
  }

  /** Frees a session or a state; a device that has ended holds none any more. */
  async release(id: number): Promise<void> {
    if (this.#ended !== undefined) return;
    await this.#send({ kind: 'release', id });
  }

  /** Makes arrays; data that it is given is handed over and must not be used afterwards. @returns the state's handle. */
  async state(arrays: readonly StateArray[]): Promise<number> {
    const buffers = new Set(arrays.flatMap(({ data }) => (data === undefined ? [] : [data.buffer as ArrayBuffer])));
    return (await this.#send({ kind: 'state', arrays }, [...buffers])) as number;
  }

  /** @returns copies of a state's arrays. */
  async read(state: number, names: readonly string[]): Promise<Float32Array<ArrayBuffer>[]> {
    return (await this.#send({ kind: 'read', state, names })) as Float32Array<ArrayBuffer>[];
  }

  /** Fills a state with zeros. */
  async clear(state: number): Promise<void> {
    await this.#send({ kind: 'clear', state });
  }

  /** Sum of the squares of all numbers of a state, in f64. */
  async sumOfSquares(state: number): Promise<number> {
    return (await this.#send({ kind: 'sum-of-squares', state })) as number;
  }

  /** Runs a session over arrays slice by slice. */
  async sweep(request: SweepRequest): Promise<void> {
    await this.#send({ kind: 'sweep', request });
  }

  /** Changes the number of rows of some arrays of a state; rows that remain keep their values, new ones are zero. */
  async resize(state: number, rows: Readonly<Record<string, number>>): Promise<void> {
    await this.#send({ kind: 'resize', state, rows });
  }

  /** Writes values `[names, heads, n, width]` into one batch element of a state; they are copied and widened there. */
  async write(state: number, batch: number, rows: StateRows, values: RowValues): Promise<void> {
    await this.#send({ kind: 'write', state, batch, rows, values });
  }

  /** Runs a session. @returns the outputs asked for. */
  async run(request: RunRequest): Promise<Record<string, TensorData>> {
    return (await this.#send({ kind: 'run', request })) as Record<string, TensorData>;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end(new Error('the device was closed'));
    if (this.#unanswered > 0) {
      // A thread that is ended while ONNX Runtime loads or computes in it can take the whole process with it.
      this.#worker.ref();
      this.#idle ??= Promise.withResolvers();
      await this.#idle.promise;
    }
    await this.#worker.terminate();
  }

  #send(command: Command, transfer: ArrayBuffer[] = []): Promise<unknown> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      // First, since it throws for what cannot be sent, and nothing will ever answer that.
      this.#worker.postMessage({ id, command }, transfer);
      this.#unanswered++;
      // An idle device must not keep a finished program alive, a busy one must.
      if (this.#pending.size === 0) this.#worker.ref();
      this.#pending.set(id, { kind: command.kind, resolve, reject });
    });
  }

  /** @param left what the worker has still to answer */
  #answered(left: number): void {
    this.#unanswered = left;
    if (left === 0) this.#idle?.resolve();
  }

  #settled(id: number): void {
    if (this.#pending.delete(id) && this.#pending.size === 0) this.#worker.unref();
  }

  #end(error: Error): void {
    this.#ended ??= error;
    for (const [id, { reject }] of this.#pending) {
      this.#settled(id);
      reject(error);
    }
  }
}
