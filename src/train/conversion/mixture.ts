/**
 * The stream of groups that a conversion trains on: how often which kind of context, from which data set.
 *
 * A group is drawn as a whole from its position and the seed, without state, so a run resumes at any position, and two runs
 * that differ in how references reach the contexts see the same questions, quotations and texts in the same order.
 * `plan.ts` draws, `render.ts` writes tokens.
 */
import { Memory3Error } from '../../errors.ts';
import { seededRandom } from '../../generate/sampling.ts';
import { sharesOf, systematicSample } from '../draw.ts';
import type { ContextKind, GroupStream, ReferenceMode, TrainingGroup } from './group.ts';
import type { ExchangeSource, Material, QuestionFamily } from './material.ts';
import { distractors, type Plan, type PlannedReference, Planner, type PlanShares } from './plan.ts';
import { type Renderer, render, weighted } from './render.ts';

/** Shares of the kinds among contexts; kinds without material give theirs to the others. */
export const kindShares: Readonly<Record<ContextKind, number>> = {
  question: 0.2,
  'chat-question': 0.05,
  gap: 0.3,
  reconstruction: 0.15,
  continuation: 0.15,
  plain: 0.1,
  text: 0.05,
};

/** Shares of the families among references with questions. SmolLM2 is an English model. */
const questionShares: Readonly<Record<QuestionFamily, number>> = {
  squad: 0.42,
  policyqa: 0.13,
  nq: 0.13,
  quac: 0.12,
  boolq: 0.11,
  cuad: 0.06,
  chinese: 0.03,
};

/** Shares of the sources among continued documents. */
const documentShares: Readonly<Record<string, number>> = {
  openstax: 0.35,
  wiki_demo: 0.3,
  squad: 0.25,
  cuad: 0.1,
};

/** Shares of the sources of plain contexts. */
const plainShares: Readonly<Record<ExchangeSource, number>> = {
  dolly_hhrlhf: 0.45,
  self_instruct_seed: 0.05,
  gsm8k: 0.2,
  triviaqa: 0.3,
};

export interface MixtureOptions extends Renderer {
  readonly seed: number;
  readonly mode: ReferenceMode;
  /** Longest body of a reference, tokens. */
  readonly maxTokens: number;
  /** References of a group; default 8. */
  readonly references?: number;
  /** Contexts of a group; default 20. */
  readonly contexts?: number;
}

/**
 * @throws Memory3Error "usage" if a group has too few references for its contexts, or the material has no questions.
 * @example
 * const material = readMaterial('data', { tokenizer, maxTokens: 124, contextTokens: 64, split: 'training' });
 * openMixture(material, { tokenizer, chatTemplate, seed: 1, mode: 'memory', maxTokens: 124, contextTokens: 64 }).group(0);
 */
export function openMixture(material: Material, options: MixtureOptions): GroupStream {
  const { references = 8, contexts = 20, seed } = options;
  if (material.questions.size === 0) throw new Memory3Error('usage', 'There is no question to train on.');
  const kinds = availableKinds(material);
  checkGroup({ references, contexts }, kinds);
  const shares = planShares(material);
  return {
    group(position) {
      if (!Number.isInteger(position) || position < 0) {
        throw new Memory3Error('usage', `${position} is no position in a stream of groups.`);
      }
      const random = seededRandom((seed + Math.imul(position, 0x9e37_79b1)) >>> 0);
      const drawn = systematicSample(kinds, contexts, random);
      return renderGroup(new Planner(material, shares, options, random).plan(drawn, references), options);
    },
  };
}

/**
 * Refuses groups with fewer references than their contexts need: five for those with others beside their own, two for each
 * continuation. @throws Memory3Error "usage"
 */
export function checkGroup(
  { references, contexts }: { readonly references: number; readonly contexts: number },
  kinds: ReadonlyMap<ContextKind, number> = new Map(Object.entries(kindShares) as [ContextKind, number][]),
): void {
  const continued = Math.ceil((contexts * (kinds.get('continuation') ?? 0)) / total(kinds));
  const least = Math.max(distractors + 1, 2 * continued);
  if (references >= least) return;
  throw new Memory3Error('usage', `${contexts} contexts need a group of at least ${least} references.`, {
    remedy: `Read more references in a step (--references ${least}), or fewer contexts (--contexts).`,
  });
}

function availableKinds(material: Material): ReadonlyMap<ContextKind, number> {
  const lacking = new Set<ContextKind>();
  if (material.documents.size === 0) lacking.add('continuation').add('text');
  if (material.exchanges.size === 0) lacking.add('plain');
  return sharesOf(kindShares, (kind) => !lacking.has(kind));
}

function planShares(material: Material): PlanShares {
  return {
    questions: sharesOf(questionShares, (family) => material.questions.has(family)),
    documents: sharesOf(documentShares, (source) => material.documents.has(source)),
    plain: sharesOf(plainShares, (source) => material.exchanges.has(source)),
  };
}

function total(shares: ReadonlyMap<string, number>): number {
  return [...shares.values()].reduce((sum, share) => sum + share, 0);
}

function renderGroup({ references, contexts }: Plan, options: MixtureOptions): TrainingGroup {
  let cut = 0;
  const rendered = contexts.map(({ kind, utterance, references: seen }) => {
    const texts = options.mode === 'rag' ? seen.map((index) => (references[index] as PlannedReference).text) : [];
    const one = render(utterance, texts, options);
    if (one.cut) cut++;
    return weighted(kind, one, options.mode === 'memory' ? seen : []);
  });
  const bodies = options.mode === 'memory' ? references.map(({ tokens }) => tokens) : [];
  return { references: bodies, contexts: rendered, cut };
}
