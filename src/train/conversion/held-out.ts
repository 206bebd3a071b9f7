/**
 * What takes no part in training, so that quality can be measured on it: whole articles of SQuAD (v1.1, v2.0 and its
 * translations in XQuAD alike), whole sites of PolicyQA, single questions of nq_openbook_short.
 *
 * held-out.json was made once: every third title (site) in alphabetical order, beginning with the second. Questions are
 * held out by a hash of their text, one in five.
 */
import { createHash } from 'node:crypto';
import heldOut from './held-out.json' with { type: 'json' };

const squadArticles = new Set(heldOut.squadArticles);
const policySites = new Set(heldOut.policySites);

/** What decides whether a question is held out. */
export interface HeldOutKey {
  /** Name of its data set, as in `question-sets.ts`. */
  readonly set: string;
  /** Article or site; data sets without either have ''. */
  readonly title: string;
  readonly question: string;
}

/** Whether an example belongs to the evaluation and must not be trained on. */
export function isHeldOut({ set, title, question }: HeldOutKey): boolean {
  if (set.startsWith('squad') || set.startsWith('xquad')) return squadArticles.has(title);
  if (set === 'policyqa') return policySites.has(title);
  if (set === 'nq_openbook_short') return oneInFive(question);
  return false;
}

function oneInFive(question: string): boolean {
  return createHash('sha256').update(question).digest().readUInt32BE(0) % heldOut.oneQuestionIn === 0;
}
