/**
 * What a domain's arms are given: documents to adapt to, documents to validate a fine-tuning with, questions.
 *
 *   documents    shuffled by the seed; the first with questions are adapted to, the next ones only validate
 *   references   each document cut as a bank cuts it, every piece behind the document's heading, so that a reference says
 *                what it is about: "<heading>: <piece>"
 *   questions    of the documents adapted to, shuffled
 *
 * Every arm gets the same text: what the bank holds is what is trained on.
 */
import { Memory3Error } from '../../errors.ts';
import { seededRandom } from '../../generate/sampling.ts';
import type { Tokenizer } from '../../model/tokenizer.ts';
import { bodyTokens, type Chunk, cutIntoChunks } from '../../retrieval/chunks.ts';
import { shuffle } from '../../train/draw.ts';
import type { Domain, DomainDocument, DomainQuestion } from './domain.ts';

/** A document as its references, one behind the other. */
export interface DomainText {
  readonly name: string;
  readonly heading: string;
  readonly text: string;
  /** Slices of the text. */
  readonly references: readonly Chunk[];
}

export interface DomainMaterial {
  readonly texts: readonly DomainText[];
  readonly validation: readonly DomainText[];
  readonly questions: readonly DomainQuestion[];
}

export interface MaterialOptions {
  /** Most documents that are adapted to. */
  readonly texts: number;
  /** Most questions. */
  readonly limit: number;
  readonly seed: number;
  /** Longest body of a reference, in tokens. */
  readonly maxTokens: number;
}

/** For so many documents one more is held out to validate with. */
const perValidation = 8;
const between = '\n\n';

/**
 * Draws a domain's material.
 * @throws Memory3Error "usage" if the domain has too few documents or no question; "not-found"; "damaged"
 */
export function readMaterial(
  { name, read }: Pick<Domain, 'name' | 'read'>,
  data: string,
  tokenizer: Tokenizer,
  options: MaterialOptions,
): DomainMaterial {
  const random = seededRandom(options.seed);
  const documents = shuffle(read(data), random);
  const most = Math.min(options.texts, documents.length);
  const held = Math.ceil(most / perValidation);
  const chosen = documents
    .filter(({ questions }) => questions.length > 0)
    .slice(0, Math.min(most, documents.length - held));
  const validation = documents.filter((document) => !chosen.includes(document)).slice(0, held);
  if (chosen.length === 0 || validation.length === 0) {
    throw new Memory3Error('usage', `The domain ${name} has ${documents.length} documents in ${data}, too few.`, {
      remedy: 'It takes one with questions to adapt to and another to validate with.',
    });
  }
  const headed = (document: DomainDocument) => headedText(document, tokenizer, options.maxTokens);
  const questions = shuffle(
    chosen.flatMap((document) => document.questions),
    random,
  ).slice(0, options.limit);
  return { texts: chosen.map(headed), validation: validation.map(headed), questions };
}

/** Tokens that a heading may take of a reference. */
const headingShare = 0.5;

/** A document with its heading in front of every piece. @throws Memory3Error "usage" for a heading that leaves no room */
export function headedText(
  { name, heading, text }: Pick<DomainDocument, 'name' | 'heading' | 'text'>,
  tokenizer: Tokenizer,
  maxTokens: number,
): DomainText {
  const room = maxTokens - bodyTokens(tokenizer, `${heading}:`).length;
  if (room < maxTokens * headingShare) {
    throw new Memory3Error('usage', `The heading of "${name}" leaves no room in references of ${maxTokens} tokens.`);
  }
  const references: Chunk[] = [];
  let whole = '';
  for (const piece of cutIntoChunks(text, tokenizer, { maxTokens: room })) {
    if (whole !== '') whole += between;
    const headed = `${heading}: ${piece.text}`;
    const start = whole.length;
    whole += headed;
    references.push({ text: headed, start, end: whole.length, tokens: bodyTokens(tokenizer, headed) });
  }
  return { name, heading, text: whole, references };
}
