/**
 * What one step of the conversion trains on: a few references, and the contexts that read them.
 *
 * A reference is encoded once in a step and read by several contexts (its questions, a quotation of it, the text that
 * follows it), which is most of what makes a step cheap. Contexts that read five references find the four distractors
 * among the references of their own group, for the same reason.
 */

export const contextKinds = [
  'question',
  'chat-question',
  'gap',
  'reconstruction',
  'continuation',
  'plain',
  'text',
] as const;
export type ContextKind = (typeof contextKinds)[number];

/** How references reach a context: as memories, not at all, or as text in the prompt (the two baselines). */
export const referenceModes = ['memory', 'none', 'rag'] as const;
export type ReferenceMode = (typeof referenceModes)[number];

export interface TrainingContext {
  readonly kind: ContextKind;
  /** The first is the model's document-start token. */
  readonly tokens: readonly number[];
  /**
   * `weights[i]` is the weight of -log P(tokens[i] | tokens before it) in the loss; `weights[0]` is 0. They sum to 1, so a
   * context counts the same whether its answer is long or short, as quality is measured.
   */
  readonly weights: readonly number[];
  /** Indices into the group's references, distinct, in no order that means anything. Empty in modes "none" and "rag". */
  readonly references: readonly number[];
}

export interface TrainingGroup {
  /** Bodies in tokens, without the header, none empty. Empty list in modes "none" and "rag". */
  readonly references: readonly (readonly number[])[];
  /** Never empty. */
  readonly contexts: readonly TrainingContext[];
  /** Contexts whose end was left off because it did not fit. */
  readonly cut: number;
}

/** Groups without end. A group depends on nothing but the stream's options and its position, so a run resumes anywhere. */
export interface GroupStream {
  /**
   * @param position 0, 1, 2, ...
   * @throws Memory3Error "usage" if it is no such number.
   */
  group(position: number): TrainingGroup;
}
