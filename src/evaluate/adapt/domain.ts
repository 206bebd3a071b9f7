/** A domain: documents, and questions that they answer. One small file each, and a line in `domains.ts`. */
import type { AdapterCard } from '../../memory/adapter-card.ts';

/** A question with a short answer. */
export interface DomainQuestion {
  /** Unique in its domain. */
  readonly id: string;
  /** Says which document it is about, where documents of the domain answer it differently. */
  readonly question: string;
  /** The first is the target of the likelihood. */
  readonly answers: readonly [string, ...string[]];
  /** Of a multiple choice, `answers[0]` among them; null where there is none. */
  readonly choices: readonly string[] | null;
}

/** Holds what its questions ask, and not the questions. */
export interface DomainDocument {
  /** Unique in its domain. */
  readonly name: string;
  /** A few words that say what the document is; every reference that is cut from it begins with them. */
  readonly heading: string;
  readonly text: string;
  readonly questions: readonly DomainQuestion[];
}

export interface Domain {
  /** What `--domain` calls it. */
  readonly name: string;
  /** For people: whose texts, whose questions. */
  readonly description: string;
  /** In the data folder; their hashes stand in the run's configuration. */
  readonly files: readonly string[];
  /** The data set's name on the card of an adapter that was trained on it. */
  readonly trainedAs: string;
  /** Whether these texts and questions are those that the conversion's training leaves out. */
  readonly heldOut: boolean;
  /**
   * @param data the data folder
   * @throws Memory3Error "not-found" or "damaged", naming file and line
   */
  readonly read: (data: string) => readonly DomainDocument[];
}

/**
 * Whether a model was trained on the domain's texts or questions.
 * @param card of its adapter; null without one
 */
export function isSeen(
  { heldOut, trainedAs }: Pick<Domain, 'heldOut' | 'trainedAs'>,
  card: Pick<AdapterCard, 'data'> | null,
): boolean {
  return !heldOut && (card?.data.some(({ name }) => name === trainedAs) ?? false);
}

/** Characters of an answer beyond which a question is left out: a greedy answer ends after 32 tokens. */
export const longestAnswer = 120;

/** Makes questions name their document. */
export function about(heading: string, question: string): string {
  return `${heading}: ${question}`;
}
