/**
 * The training of a conversion: groups of the mixture, one for each step, as something that a run can drive.
 *
 * A model that is to serve several numbers of kept tokens learns them in turn, one in each step. Summary tokens, where
 * there are any, decide the number themselves. Where the training graph does not choose the kept tokens itself (at random, by
 * reconstruction, by a classifier of answers), they are chosen before each pass by the weights as they are.
 */
import { Memory3Error } from '../../errors.ts';
import type { BatchMemory, TrainingBatch, TrainingSequence } from '../batch.ts';
import { withChosenTokens } from '../choose-tokens.ts';
import type { ModelTrainer } from '../model-trainer.ts';
import { positionOf } from '../position.ts';
import { learn, meanLoss, type Pass } from '../step.ts';
import type { StepResult, Trainable, TrainingState } from '../trainable.ts';
import type { GroupStream, TrainingContext, TrainingGroup } from './group.ts';

export interface ConversionTrainingOptions {
  readonly trainer: ModelTrainer;
  readonly stream: GroupStream;
  /** Null where no context sees memories (the baselines). */
  readonly memory: Omit<BatchMemory, 'keptTokens' | 'chunkTokens'> | null;
  /** Token ids of "Repeat the reference:", which reconstruction scores need. */
  readonly repeatPrompt?: readonly number[];
  /** Numbers of kept tokens, learned in turn. */
  readonly kept: readonly (number | 'all')[];
  /** Groups of what is held out; every validation measures the questions of all of them. */
  readonly validation: readonly TrainingGroup[];
  /** Tokens of a sequence into which contexts with memories are packed; longer contexts have one of their own. */
  readonly sequenceTokens: number;
  /** Most tokens of one pass; longer groups without references are learned in parts. */
  readonly passTokens: number;
}

export class ConversionTraining implements Trainable {
  readonly #options: ConversionTrainingOptions;
  /** Groups learned so far. */
  #position = 0;

  /** @throws Memory3Error "usage" for reconstruction scores without their prompt. */
  constructor(options: ConversionTrainingOptions) {
    if (options.memory?.profile.scoring === 'reconstruction' && options.repeatPrompt === undefined) {
      throw new Memory3Error('usage', 'Reconstruction scores need the tokens of "Repeat the reference:".');
    }
    this.#options = options;
  }

  async step(rate: number): Promise<StepResult> {
    const { trainer, stream, kept } = this.#options;
    const count = kept[this.#position % kept.length] as number | 'all';
    const group = stream.group(this.#position);
    const result = await learn(trainer, this.#passes([group], count), rate);
    this.#position++;
    return { ...result, cut: group.cut };
  }

  /** Mean loss of the held-out questions for each number of kept tokens. */
  async validate(signal?: AbortSignal): Promise<Readonly<Record<string, number>>> {
    const { trainer, memory, kept, validation } = this.#options;
    const questions = validation.map((group) => ({ ...group, contexts: group.contexts.filter(isQuestion) }));
    const losses: [string, number][] = [];
    for (const count of memory === null ? (['all'] as const) : new Set(kept)) {
      const loss = await meanLoss(trainer, this.#passes(questions, count), signal);
      losses.push([memory === null ? 'questions' : `questions, ${count} kept`, loss]);
    }
    return Object.fromEntries(losses);
  }

  async state(): Promise<TrainingState> {
    const { tensors, values } = await this.#options.trainer.state();
    return { tensors, values: { ...values, position: this.#position } };
  }

  async restore(state: TrainingState): Promise<void> {
    const position = positionOf(state);
    await this.#options.trainer.restore(state);
    this.#position = position;
  }

  /** The passes of some groups, each with as many tokens kept. */
  async *#passes(groups: readonly TrainingGroup[], keptTokens: number | 'all'): AsyncGenerator<Pass, void> {
    for (const group of groups) {
      for (const batch of this.#batches(group)) yield { batch, memory: await this.#memory(batch, keptTokens) };
    }
  }

  async #memory(batch: TrainingBatch, keptTokens: number | 'all'): Promise<BatchMemory | undefined> {
    const { trainer, memory, repeatPrompt = [] } = this.#options;
    if (memory === null) return undefined;
    return withChosenTokens(trainer, batch, { ...memory, keptTokens, chunkTokens: null }, repeatPrompt);
  }

  /**
   * One batch where references are read, since each is read once, its contexts packed into sequences of `sequenceTokens`;
   * else as many batches as `passTokens` wants, like lengths together, since each is padded to the longest; what contexts
   * have in common is read once.
   */
  #batches({ references, contexts }: TrainingGroup): TrainingBatch[] {
    const { memory, passTokens, sequenceTokens } = this.#options;
    if (memory !== null) {
      const longestFirst = contexts.toSorted((a, b) => b.tokens.length - a.tokens.length);
      return [{ references, sequences: pack(longestFirst, sequenceTokens).map(sequenceOf) }];
    }
    const passes = likeLengths(shareBeginnings(contexts), passTokens);
    return passes.map((sequences) => ({ references: [], sequences }));
  }
}

function isQuestion({ kind }: TrainingContext): boolean {
  return kind === 'question';
}

/** Sequences of one pass are at least so long, as a share of its longest. */
const likeLength = 0.75;

/**
 * Sequences in passes of at most `passTokens` tokens, unless one alone has more. A pass pads each to its longest, so only
 * those of like lengths share one: else half of what is computed were padding.
 */
export function likeLengths<Sequence extends Pick<TrainingSequence, 'tokens'>>(
  sequences: readonly Sequence[],
  passTokens: number,
): Sequence[][] {
  const passes: Sequence[][] = [];
  for (const sequence of sequences.toSorted((a, b) => b.tokens.length - a.tokens.length)) {
    const last = passes.at(-1) ?? [];
    const longest = last[0]?.tokens.length ?? 0;
    const isFull = longest * (last.length + 1) > passTokens;
    if (last.length === 0 || isFull || sequence.tokens.length < likeLength * longest) passes.push([sequence]);
    else last.push(sequence);
  }
  return passes;
}

/** First fit: each context goes into the first sequence that has room for it. */
export function pack(contexts: readonly TrainingContext[], sequenceTokens: number): TrainingContext[][] {
  const sequences: { contexts: TrainingContext[]; tokens: number }[] = [];
  for (const context of contexts) {
    const { length } = context.tokens;
    const place = sequences.find(({ tokens }) => tokens + length <= sequenceTokens);
    if (place === undefined) sequences.push({ contexts: [context], tokens: length });
    else {
      place.contexts.push(context);
      place.tokens += length;
    }
  }
  return sequences.map(({ contexts: own }) => own);
}

/**
 * Sequences of contexts that have at least half of their longest in common, as questions about the same references in the
 * prompt have; the others stand alone.
 */
export function shareBeginnings(contexts: readonly TrainingContext[]): TrainingSequence[] {
  const groups: { contexts: TrainingContext[]; shared: number; longest: number }[] = [];
  for (const context of contexts.toSorted((a, b) => compareTokens(a.tokens, b.tokens))) {
    const last = groups.at(-1);
    // What is to be predicted is never shared.
    const given = context.weights.findIndex((weight) => weight > 0);
    const shared = Math.min(last?.shared ?? 0, given, commonTokens(last?.contexts[0]?.tokens ?? [], context.tokens));
    const longest = Math.max(last?.longest ?? 0, context.tokens.length);
    if (last !== undefined && 2 * shared >= longest) {
      last.contexts.push(context);
      Object.assign(last, { shared, longest });
    } else groups.push({ contexts: [context], shared: given, longest: context.tokens.length });
  }
  return groups.map((group) => (group.contexts.length === 1 ? sequenceOf(group.contexts) : sharing(group)));
}

function sharing({ contexts, shared }: { contexts: readonly TrainingContext[]; shared: number }): TrainingSequence {
  const rest = <Value>(of: (context: TrainingContext) => readonly Value[]) =>
    contexts.flatMap((context) => of(context).slice(shared));
  const [first] = contexts as [TrainingContext];
  const beginning = first.tokens.slice(0, shared);
  return {
    tokens: [...beginning, ...rest(({ tokens }) => tokens)],
    weights: [...beginning.map(() => 0), ...rest(({ weights }) => weights)],
    chunks: [[]],
    samples: [
      ...beginning.map(() => 0),
      ...contexts.flatMap((context, i) => context.tokens.slice(shared).map(() => i)),
    ],
    shared,
  };
}

function commonTokens(a: readonly number[], b: readonly number[]): number {
  let common = 0;
  while (common < a.length && a[common] === b[common]) common++;
  return common;
}

function compareTokens(a: readonly number[], b: readonly number[]): number {
  const common = commonTokens(a, b);
  return (a[common] ?? -1) - (b[common] ?? -1);
}

function sequenceOf(contexts: readonly TrainingContext[]): TrainingSequence {
  return {
    tokens: contexts.flatMap(({ tokens }) => tokens),
    weights: contexts.flatMap(({ weights }) => weights),
    chunks: [[...new Set(contexts.flatMap(({ references }) => references))]],
    samples: contexts.flatMap(({ tokens }, sample) => tokens.map(() => sample)),
    seen: contexts.map(({ references }) => references),
  };
}
