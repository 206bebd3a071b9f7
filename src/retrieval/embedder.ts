/** Text to a unit vector whose dot product with another is their cosine similarity. */
export interface Embedder extends AsyncDisposable {
  readonly name: string;
  /** Hex sha256 over the model file, the tokenizer and the pooling rule. */
  readonly fingerprint: string;
  readonly dimensions: number;
  /** @returns one unit vector `[dimensions]` for each text. */
  embedPassages(texts: readonly string[]): Promise<Float32Array[]>;
  /** Like `embedPassages`, with the query prefix that the model's card asks for. */
  embedQueries(texts: readonly string[]): Promise<Float32Array[]>;
}
