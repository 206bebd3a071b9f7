/**
 * A tokenizer from Hugging Face's tokenizer.json and tokenizer_config.json (models in safetensors).
 *
 * Of the format's many components the supported families use byte-pair encoding over GPT-2's byte alphabet (SmolLM, Llama 3, Qwen,
 * Mistral's newer models) or over SentencePiece pieces with byte fallback (Llama 2, Mistral's older ones). Others are refused by name.
 */
import { z } from 'zod';
import { Memory3Error } from '../errors.ts';
import { type AddedToken, createTokenizer, type Tokenizer, type TokenizerParts } from './tokenizer.ts';

const componentSchema = z.looseObject({ type: z.string() });
type Component = z.infer<typeof componentSchema>;

const tokenizerJsonSchema = z.looseObject({
  normalizer: componentSchema.nullish(),
  pre_tokenizer: componentSchema.nullish(),
  added_tokens: z
    .array(
      z.looseObject({
        id: z.int().nonnegative(),
        content: z.string().min(1),
        special: z.boolean().default(false),
        lstrip: z.boolean().default(false),
        rstrip: z.boolean().default(false),
      }),
    )
    .default([]),
  model: z.looseObject({
    type: z.string().default('BPE'),
    // Large: checked by hand below.
    vocab: z.custom<Readonly<Record<string, unknown>>>((value) => typeof value === 'object' && value !== null),
    merges: z.array(z.unknown()).default([]),
    byte_fallback: z.boolean().nullish(),
    ignore_merges: z.boolean().nullish(),
  }),
});

const patternSchema = z.union([z.looseObject({ Regex: z.string() }), z.looseObject({ String: z.string() })]);
const replaceSchema = z.looseObject({ type: z.string(), pattern: patternSchema, content: z.string() });
const splitSchema = z.looseObject({
  type: z.string(),
  pattern: patternSchema,
  behavior: z.string(),
  invert: z.boolean().default(false),
});

const tokenNameSchema = z.union([z.string(), z.looseObject({ content: z.string() })]).nullish();
const tokenizerConfigSchema = z.looseObject({ bos_token: tokenNameSchema, eos_token: tokenNameSchema });

/** Tokens that end an answer wherever a vocabulary has them as added tokens. */
const endTokenNames = ['<|im_end|>', '<|eot_id|>', '<|eom_id|>', '<|end_of_text|>', '<|endoftext|>', '<|end|>', '</s>'];

/** Tokens that start a document in models without a bos. */
const documentStartNames = ['<|endoftext|>', '<|begin_of_text|>', '<s>'];

/**
 * @param tokenizerJson - the parsed tokenizer.json.
 * @param tokenizerConfig - the parsed tokenizer_config.json, for the names of bos and eos; `{}` if there is none.
 * @throws Memory3Error "unsupported" for a kind of tokenizer that the project does not know, "damaged" for a broken file.
 */
export function tokenizerFromJson(tokenizerJson: unknown, tokenizerConfig: unknown): Tokenizer {
  const json = parse(tokenizerJsonSchema, tokenizerJson, 'tokenizer.json');
  const config = parse(tokenizerConfigSchema, tokenizerConfig, 'tokenizer_config.json');
  if (json.model.type !== 'BPE') {
    throw unsupported(`Tokenizer model "${json.model.type}"`, 'byte-pair encoding ("BPE")');
  }
  const tokens = tokenList(json.model.vocab, json.added_tokens);
  const { library, ...rules } = libraryStructure(json);
  const named = (name: z.infer<typeof tokenNameSchema>): number | undefined => {
    const content = typeof name === 'object' ? name?.content : name;
    return content === undefined ? undefined : idOf(tokens, json.added_tokens, content);
  };
  const added = new Map(json.added_tokens.map((token) => [token.content, token.id]));
  const start = documentStartNames.map((name) => added.get(name)).find((id) => id !== undefined);
  const ends = [named(config.eos_token), ...endTokenNames.map((name) => added.get(name))];
  const bosTokenId = named(config.bos_token) ?? start;
  if (bosTokenId === undefined) {
    throw unsupported(
      'A tokenizer without a token that starts a document',
      `a bos token or ${documentStartNames.join(', ')}`,
    );
  }
  return createTokenizer({
    ...rules,
    library,
    tokens,
    addedTokens: json.added_tokens,
    bosTokenId,
    endTokenIds: [...new Set(ends.filter((id) => id !== undefined))],
  });
}

type TokenizerJson = z.infer<typeof tokenizerJsonSchema>;
type Rules = Pick<TokenizerParts, 'library' | 'spelling' | 'space' | 'spaceAlways' | 'normalisation'>;

/** The structure for the library, and the rules that this project applies itself. */
function libraryStructure(json: TokenizerJson): Rules {
  const removed = new Set(json.added_tokens.map((token) => token.content));
  const vocab = Object.fromEntries(Object.entries(json.model.vocab).filter(([token]) => !removed.has(token)));
  // A merge to a token that is not there would lose its text.
  const merges = mergePairs(json.model.merges).filter(([left, right]) => Object.hasOwn(vocab, left + right));

  const normalizers: Component[] = [];
  const preTokenizers: Component[] = [];
  let space: TokenizerParts['space'] = 'none';
  let spaceAlways = false;
  let normalisation: TokenizerParts['normalisation'] = null;
  let byteLevel = false;
  for (const component of flatten(json.normalizer, 'normalizers')) {
    if (component.type === 'Prepend') {
      if (component.prepend !== '▁') throw unsupported(`A tokenizer that prepends "${component.prepend}"`, '"▁"');
      space = 'every-run';
      spaceAlways = true;
      continue;
    }
    if (isNormalisation(component.type)) {
      normalisation = component.type;
      normalizers.push(component);
    } else if (component.type === 'Replace') {
      normalizers.push(parse(replaceSchema, component, 'tokenizer.json: Replace'));
    } else {
      throw unsupported(`Normalizer "${component.type}"`, 'NFC, Prepend, Replace');
    }
  }
  for (const component of flatten(json.pre_tokenizer, 'pretokenizers')) {
    if (component.type === 'Metaspace') {
      // Older files say "never" in other words.
      if (component.prepend_scheme !== 'never' && component.add_prefix_space !== false) {
        space = component.prepend_scheme === 'first' ? 'first-run' : 'every-run';
      }
      normalizers.push({ type: 'Replace', pattern: { String: ' ' }, content: '▁' });
    } else if (component.type === 'ByteLevel') {
      if (component.add_prefix_space === true) space = 'every-run';
      byteLevel = true;
      preTokenizers.push({ ...component, add_prefix_space: false });
    } else if (component.type === 'Split') {
      preTokenizers.push(splitOf(component));
    } else if (component.type === 'Digits') {
      // The library's own takes ASCII digits only.
      const pattern = { Regex: component.individual_digits === true ? '\\p{N}' : '\\p{N}+' };
      preTokenizers.push({ type: 'Split', pattern, behavior: 'Isolated', invert: false });
    } else {
      throw unsupported(`Pre-tokenizer "${component.type}"`, 'ByteLevel, Digits, Metaspace, Split');
    }
  }
  if (!byteLevel) {
    checkByteFallback(json);
    if (!merges.some(([left, right]) => /[^▁]▁/u.test(left + right))) preTokenizers.push(wordPieces);
  }
  const sequence = (type: string, key: string, components: readonly Component[]) =>
    components.length === 0 ? null : { type, [key]: components };
  return {
    spelling: byteLevel ? 'byte-level' : 'sentencepiece',
    space,
    spaceAlways,
    normalisation,
    library: {
      normalizer: sequence('Sequence', 'normalizers', normalizers),
      pre_tokenizer: sequence('Sequence', 'pretokenizers', preTokenizers),
      post_processor: null,
      decoder: null,
      added_tokens: [],
      model: {
        type: 'BPE',
        vocab,
        merges,
        byte_fallback: !byteLevel,
        ignore_merges: json.model.ignore_merges === true,
      },
    },
  };
}

/**
 * A Split in the forms that the library computes as Hugging Face does. It takes every other behaviour for "Isolated", and
 * drops what an inverted pattern does not match, which "Isolated" keeps.
 */
function splitOf(component: Component): Component {
  const split = parse(splitSchema, component, 'tokenizer.json: Split');
  if (split.behavior === 'Isolated') return { ...split, invert: false };
  if (split.behavior === 'Removed') return split;
  throw unsupported(`A pre-tokenizer that splits as "${split.behavior}"`, 'Isolated, Removed');
}

/**
 * SentencePiece has no words: a whole text is one queue of merges. Where no merge makes a piece with "▁" behind another
 * character, no merge can cross such a place, so cutting there changes nothing and makes words that can be cached.
 */
const wordPieces: Component = {
  type: 'Split',
  pattern: { Regex: '▁*[^▁]+|▁+' },
  behavior: 'Removed',
  invert: true,
};

/** Without all byte tokens a character that is not in the vocabulary would become the unknown token. */
function checkByteFallback(json: TokenizerJson): void {
  const missing = Array.from({ length: 256 }, (_, byte) => byteToken(byte)).find(
    (token) => !Object.hasOwn(json.model.vocab, token),
  );
  if (json.model.byte_fallback !== true || missing !== undefined) {
    throw unsupported('A SentencePiece tokenizer without byte fallback', 'all of <0x00> to <0xFF>');
  }
}

/** How SentencePiece writes a byte: `<0x0A>`. */
export function byteToken(byte: number): string {
  return `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`;
}

function isNormalisation(type: string): type is 'NFC' | 'NFKC' | 'NFD' | 'NFKD' {
  return type === 'NFC' || type === 'NFKC' || type === 'NFD' || type === 'NFKD';
}

function flatten(component: Component | null | undefined, key: string): Component[] {
  if (component === null || component === undefined) return [];
  if (component.type !== 'Sequence') return [component];
  const list = parse(z.array(componentSchema), component[key], `tokenizer.json: Sequence.${key}`);
  return list.flatMap((inner) => flatten(inner, key));
}

/** Merges as pairs; older files write "left right". */
function mergePairs(merges: readonly unknown[]): [string, string][] {
  return merges.map((merge, index) => {
    const pair: readonly unknown[] = typeof merge === 'string' ? merge.split(' ') : Array.isArray(merge) ? merge : [];
    const [left, right] = pair;
    if (pair.length !== 2 || typeof left !== 'string' || typeof right !== 'string') {
      throw new Memory3Error(
        'damaged',
        `The tokenizer's merge ${index} is not a pair of tokens: ${JSON.stringify(merge)}`,
      );
    }
    return [left, right];
  });
}

/** Longest list of tokens that a vocabulary may span; the largest published ones have a quarter million. */
const largestVocabulary = 1 << 22;

function tokenList(vocab: Readonly<Record<string, unknown>>, added: readonly AddedToken[]): (string | undefined)[] {
  const tokens: (string | undefined)[] = [];
  const put = (token: string, id: unknown): void => {
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id > largestVocabulary) {
      throw new Memory3Error(
        'damaged',
        `The tokenizer's token ${JSON.stringify(token)} has no valid id: ${String(id)}`,
      );
    }
    tokens[id] = token;
  };
  for (const [token, id] of Object.entries(vocab)) put(token, id);
  for (const { content, id } of added) put(content, id);
  return Array.from(tokens);
}

function idOf(
  tokens: readonly (string | undefined)[],
  added: readonly AddedToken[],
  content: string,
): number | undefined {
  const id = added.find((token) => token.content === content)?.id ?? tokens.indexOf(content);
  return id === -1 ? undefined : id;
}

function parse<T>(schema: z.ZodType<T>, value: unknown, where: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new Memory3Error('damaged', `${where} is not as it must be: ${z.prettifyError(result.error)}`);
}

function unsupported(what: string, supported: string): Memory3Error {
  return new Memory3Error('unsupported', `${what} is not supported.`, { remedy: `Supported: ${supported}.` });
}
