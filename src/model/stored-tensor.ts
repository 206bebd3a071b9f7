/** Tensors as they lie in a file, whatever its format. */

/** Where one tensor lies in its file. */
export interface StoredTensor {
  readonly name: string;
  /** Row-major: the last dimension is contiguous. */
  readonly shape: readonly number[];
  /** "F32", "Q4_1", ... as in `decodeTensor`. */
  readonly type: string;
  /** Position of its first byte in the file. */
  readonly position: number;
  readonly byteLength: number;
}

/** An open file of tensors, its header read and checked. */
export interface TensorFile extends Disposable {
  readonly path: string;
  /** In the order of the file's header. */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  /** The tensor's bytes as they are in the file. @throws Memory3Error "damaged" if the file has become shorter. */
  readTensor(tensor: StoredTensor): Uint8Array<ArrayBuffer>;
}
