/**
 * How likely continuations are behind their prompts: what multiple choice and cloze tasks are scored by.
 *
 *   log P(continuation | prompt) = sum over its tokens
 *
 * Prompt and continuation are encoded together; the continuation's tokens are those behind as many as the prompt alone has.
 * A prompt and all its continuations are one tree (`memory/branches.ts`): one run reads the prompt once and each
 * continuation behind it, up to the last token, which nothing comes after. Several such trees stand side by side in one
 * sequence as long as they see the same things before them, so runs have a full length and no padding; where each has
 * memories of its own, each has a sequence of its own. Likelihoods come out of the hidden vectors that a token follows, and
 * of those alone. What a whole task begins with (shots) stands in the context already.
 */
import { Memory3Error } from '../../errors.ts';
import { layOut, type TextTree } from '../../memory/branches.ts';
import type { ReadingContext } from '../../memory/context.ts';
import type { Tokenizer } from '../../model/tokenizer.ts';
import { likelihoodsBehind, type TokenInContext } from '../likelihood.ts';
import { promptRun, readRuns } from './prompt-runs.ts';

/** A prompt and what might stand behind it, as token ids. */
export interface PromptWithContinuations {
  /** At least one token. */
  readonly prompt: readonly number[];
  /** Each of at least one token. */
  readonly continuations: readonly (readonly number[])[];
}

export interface ContinuationLikelihood {
  /** Log-likelihood, nats, summed over tokens. */
  readonly logLikelihood: number;
  readonly tokens: number;
  /** Whether each of its tokens is the likeliest: what greedy decoding would have written. */
  readonly greedy: boolean;
}

/**
 * Encodes a prompt and its continuations.
 * @param text before the continuations
 * @param continuations each as it stands behind the text, with its space
 * @param isBehind whether other text stands before it, for models that put a space in front of a text
 */
export function encodeContinuations(
  tokenizer: Pick<Tokenizer, 'encode'>,
  text: string,
  continuations: readonly string[],
  isBehind = false,
): PromptWithContinuations {
  const encode = (one: string) => tokenizer.encode(one, { continuation: isBehind });
  const prompt = encode(text);
  return {
    prompt,
    continuations: continuations.map((continuation) => {
      const behind = encode(`${text}${continuation}`).slice(prompt.length);
      // The border may vanish in one token; then the continuation is encoded alone.
      return behind.length > 0 ? behind : tokenizer.encode(continuation, { continuation: true });
    }),
  };
}

/** Tokens of trees that stand side by side in one sequence. */
const packTokens = 256;

/**
 * Likelihoods of every continuation of a batch; the context is then what it was before.
 * @param context with what stands before the prompts read and memories in use: of as many sequences as there are prompts, each
 * for one, or of a single one for all
 * @returns for each prompt its continuations', in order
 * @throws Memory3Error "usage" for an empty prompt or continuation, or another number of sequences
 * @example
 * await using context = await ReadingContext.open(model, { memory: null });
 * const [likelihoods] = await continuationLikelihoods(context, [encodeContinuations(tokenizer, 'Two and two are', [' four', ' five'])]);
 */
export async function continuationLikelihoods(
  context: ReadingContext,
  batch: readonly PromptWithContinuations[],
): Promise<ContinuationLikelihood[][]> {
  for (const { prompt, continuations } of batch) {
    if ([prompt, ...continuations].every(({ length }) => length > 0)) continue;
    throw new Memory3Error('usage', 'An empty text has no likelihood, and nothing can be likely behind one.');
  }
  if (context.batch === batch.length) {
    return (
      await forestLikelihoods(
        context,
        batch.map((one) => [one]),
      )
    ).flat();
  }
  if (context.batch !== 1) {
    throw new Memory3Error('usage', `A context of ${context.batch} sequences cannot read ${batch.length} prompts.`);
  }
  const results: ContinuationLikelihood[][] = [];
  for (const pack of packsOf(batch)) results.push(...((await forestLikelihoods(context, [pack]))[0] ?? []));
  return results;
}

/** Neighbours together, up to so many tokens; a longer one alone. */
function packsOf(batch: readonly PromptWithContinuations[]): PromptWithContinuations[][] {
  const packs: PromptWithContinuations[][] = [];
  let room = 0;
  for (const one of batch) {
    const size = layOut([treeOf(one)]).tokens.length;
    if (size > room) {
      packs.push([]);
      room = packTokens;
    }
    packs.at(-1)?.push(one);
    room -= size;
  }
  return packs;
}

/** The last token of a continuation is not read. */
function treeOf({ prompt, continuations }: PromptWithContinuations): TextTree {
  return { tokens: prompt, branches: continuations.map((one) => ({ tokens: one.slice(0, -1) })) };
}

/**
 * One run, after those that read the beginnings of long prompts.
 * @param forests the prompts of each sequence; several of them together are no longer than a run
 */
async function forestLikelihoods(
  context: ReadingContext,
  forests: readonly (readonly PromptWithContinuations[])[],
): Promise<ContinuationLikelihood[][][]> {
  const before = forests.map((_, element) => context.length(element));
  const alone = forests.map(([first, ...others]) => (others.length === 0 ? (first?.prompt ?? []) : []));
  const rests = await readRuns(context, alone, 1);
  const shortened = forests.map((forest, element) => {
    const [first, ...others] = forest;
    if (first === undefined || others.length > 0) return forest;
    return [{ ...first, prompt: rests[element] as readonly number[] }];
  });
  const layouts = shortened.map((forest) => layOut(forest.map(treeOf)));
  const hidden = await context.readBranches(layouts);
  for (const [element, length] of before.entries()) context.rewind(length, element);

  const wanted: TokenInContext[] = [];
  for (const [element, forest] of shortened.entries()) {
    const segments = layouts[element]?.segments.values();
    const nextStart = () => element * hidden.length + (segments?.next().value?.offset as number);
    for (const { prompt, continuations } of forest) {
      const promptEnd = nextStart() + prompt.length - 1;
      for (const tokens of continuations) {
        const start = nextStart();
        for (const [i, token] of tokens.entries()) wanted.push({ row: i === 0 ? promptEnd : start + i - 1, token });
      }
    }
  }
  const likelihoods = await likelihoodsBehind(context.model, hidden, wanted);
  let next = 0;
  return forests.map((forest) =>
    forest.map(({ continuations }) =>
      continuations.map(({ length }) => {
        const own = likelihoods.slice(next, next + length);
        next += length;
        return {
          logLikelihood: own.reduce((sum, { logLikelihood }) => sum + logLikelihood, 0),
          tokens: length,
          greedy: own.every(({ isLikeliest }) => isLikeliest),
        };
      }),
    ),
  );
}

export interface TextLikelihoodOptions {
  /** So many of the text's first tokens are read but do not count; default 1, which nothing stands before. */
  readonly first?: number;
  /** Tokens that are read in one run; default 128. */
  readonly run?: number;
  /** Is waited for before each run, with the place of its first token. */
  readonly beforeRun?: (start: number) => Promise<void>;
}

/**
 * Negative log-likelihood of a text, nats, summed over those of its tokens that count.
 * @param context of one sequence, with what stands before the text read
 */
export async function textLikelihood(
  context: ReadingContext,
  tokens: readonly number[],
  { first = 1, run = promptRun / 2, beforeRun }: TextLikelihoodOptions = {},
): Promise<number> {
  let nats = 0;
  for (let start = 0; start < tokens.length - 1; start += run) {
    await beforeRun?.(start);
    const read = tokens.slice(start, Math.min(start + run, tokens.length - 1));
    const hidden = await context.extendHidden([read]);
    const wanted = [...read.keys()]
      .filter((row) => start + row + 1 >= first)
      .map((row) => ({ row, token: tokens[start + row + 1] as number }));
    for (const { logLikelihood } of await likelihoodsBehind(context.model, hidden, wanted)) nats -= logLikelihood;
  }
  return nats;
}
