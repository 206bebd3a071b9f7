/**
 * What the cards of sentence embedders say about their use, as data: how token vectors become one vector, what a query
 * starts with, how many tokens a text may have. The code that runs an embedder knows no model by name.
 */
import { Memory3Error } from '../errors.ts';
import { defaultEmbedder } from '../hub/catalogue.ts';

export interface EmbedderCard {
  /** A model's reference names its card by containing this. */
  readonly name: string;
  /** What the hub is asked for when the card's name alone is given. */
  readonly model: string;
  /** A tokenizer.json that ships with the project; null: it lies with the model. */
  readonly tokenizer: URL | null;
  /** `mean` of all token vectors, or the first token's (`cls`). */
  readonly pooling: 'mean' | 'cls';
  readonly queryPrefix: string;
  /** Longest input, special tokens included. */
  readonly maxTokens: number;
  readonly dimensions: number;
  /** Output `[batch, tokens, dimensions]`. */
  readonly output: string;
  /** Whether the graph has an input `token_type_ids`. */
  readonly tokenTypes: boolean;
}

/** Where the sources of this package lie in a checkout and in the published package alike. */
const assets = new URL('../../assets/', import.meta.url);

const bgeQuery = 'Represent this sentence for searching relevant passages: ';
const bgeChineseQuery = '为这个句子生成表示以用于检索相关文章：';

export const embedderCards: readonly EmbedderCard[] = [
  {
    name: 'all-minilm-l6-v2',
    model: defaultEmbedder,
    tokenizer: new URL('all-minilm-l6-v2/tokenizer.json', assets),
    pooling: 'mean',
    queryPrefix: '',
    maxTokens: 256,
    dimensions: 384,
    output: 'last_hidden_state',
    tokenTypes: true,
  },
  bge('bge-small-en-v1.5', 384, bgeQuery),
  bge('bge-base-en-v1.5', 768, bgeQuery),
  bge('bge-large-en-v1.5', 1024, bgeQuery),
  bge('bge-small-zh-v1.5', 512, bgeChineseQuery),
  bge('bge-base-zh-v1.5', 768, bgeChineseQuery),
  bge('bge-large-zh-v1.5', 1024, bgeChineseQuery),
  // The paper's embedder: XLM-RoBERTa, 100 languages, no prefix.
  { ...bge('bge-m3', 1024, ''), maxTokens: 8192, tokenTypes: false },
];

function bge(name: string, dimensions: number, queryPrefix: string): EmbedderCard {
  return {
    name,
    model: `hf:Xenova/${name}/onnx/model_quantized.onnx`,
    tokenizer: null,
    pooling: 'cls',
    queryPrefix,
    maxTokens: 512,
    dimensions,
    output: 'last_hidden_state',
    tokenTypes: true,
  };
}

/**
 * The card of a model by its name, path or Hugging Face reference.
 *
 * @throws Memory3Error "unsupported" if no card's name occurs in it.
 */
export function findEmbedderCard(reference: string): EmbedderCard {
  const card = embedderCards.find(({ name }) => reference.toLowerCase().includes(name));
  if (card) return card;
  throw new Memory3Error('unsupported', `There is no embedder card for "${reference}".`, {
    remedy: `Known: ${embedderCards.map(({ name }) => name).join(', ')}. A path must contain one of these names.`,
  });
}
