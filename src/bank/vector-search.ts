/** Chooses, loads, updates and saves the nearest-neighbour index of one open bank. */
import { loadIndexFile, saveIndexFile } from './index-file.ts';
import { ExactIndex, GraphIndex, type NeighbourIndex } from './neighbours.ts';

/** Below this many vectors all are compared: at most 2 ms, and 30 MB of memory (docs/durability.md). */
export const exactBelow = 20_000;
/** So many new vectors in the graph are worth a new file: adding them again would take a fifth of a second. */
const worthSaving = 1000;

export interface VectorSearchOptions {
  readonly path: string;
  readonly vectorsId: string;
  readonly dimensions: number;
  readonly exactBelow: number;
  /** The folder can be written. */
  readonly canSave: boolean;
  readonly onNotice: (notice: string) => void;
}

export class VectorSearch {
  readonly #options: VectorSearchOptions;
  #index: NeighbourIndex | undefined;
  #generation = -1;
  /** Vectors that the graph has and its file has not. */
  #unsaved = 0;

  constructor(options: VectorSearchOptions) {
    this.#options = options;
  }

  /**
   * The index for the bank's vectors of this generation.
   * @param ids called when the index has to be brought up to date: all reference ids that have a vector
   * @param read one reference's vector
   */
  at(generation: number, ids: () => readonly number[], read: (id: number) => Float32Array): NeighbourIndex {
    if (this.#index !== undefined && this.#generation === generation) return this.#index;
    const current = ids();
    const index = this.#fitting(current.length);
    const added = index.update(current, read);
    this.#index = index;
    this.#generation = generation;
    if (index instanceof GraphIndex) {
      this.#unsaved += added;
      if (this.#unsaved >= worthSaving) this.save();
    }
    return index;
  }

  /** Writes the graph's file if it holds less than the graph. */
  save(): void {
    if (!(this.#index instanceof GraphIndex) || this.#unsaved === 0 || !this.#options.canSave) return;
    try {
      saveIndexFile(this.#options.path, this.#options, this.#index);
      this.#unsaved = 0;
    } catch (error) {
      // The search that needed the index is right without the file.
      this.#options.onNotice(`The index ${this.#options.path} could not be saved: ${error}`);
    }
  }

  #fitting(count: number): NeighbourIndex {
    const { path, dimensions, onNotice } = this.#options;
    if (count < this.#options.exactBelow) {
      return this.#index instanceof ExactIndex ? this.#index : new ExactIndex(dimensions);
    }
    if (this.#index instanceof GraphIndex) return this.#index;
    const loaded = loadIndexFile(path, this.#options);
    if (loaded instanceof GraphIndex) return loaded;
    if (loaded.state === 'damaged') onNotice(`The index ${path} is damaged (${loaded.what}); it is built again.`);
    else onNotice(`The index ${path} is ${loaded.state === 'missing' ? 'missing' : 'out of date'}; it is built.`);
    return new GraphIndex(dimensions);
  }
}
