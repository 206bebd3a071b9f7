/**
 * A device runs graphs in a worker thread and keeps what they need between runs.
 *
 * The main thread never blocks on computation: it sends commands to the worker and awaits their answers, in order.
 * Sessions (compiled graphs) and buffers (float32 arrays that outlive a run: key-value caches, optimiser state) live
 * in the worker and are named by handles.
 */

export type ElementType = 'float32' | 'float16' | 'int64' | 'int32' | 'uint8' | 'bool';

export interface TensorData {
  readonly type: ElementType;
  readonly shape: readonly number[];
  readonly data: Float32Array | Uint16Array | BigInt64Array | Int32Array | Uint8Array;
}

export interface SessionHandle extends AsyncDisposable {
  readonly id: number;
}

/** A float32 array `[..., rows, width]` in the worker. */
export interface BufferHandle extends AsyncDisposable {
  readonly id: number;
}

export type ExecutionProvider = 'cpu' | 'webgpu' | 'cuda';

export interface SessionOptions {
  /** A serialised ONNX ModelProto, and the bytes of its external initializers by location. */
  readonly model: Uint8Array;
  readonly externalData?: readonly { readonly path: string; readonly data: Uint8Array }[];
  readonly extra?: Readonly<Record<string, string>>;
}
