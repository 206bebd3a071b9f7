/** Everything that the mixture draws from, read from a folder of data sets and kept in memory. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { z } from 'zod';
import { readJsonLines } from '../../json-lines.ts';
import type { Tokenizer } from '../../model/tokenizer.ts';
import { heldOutGuard, type PassageExample, readExamples, type Split } from './examples.ts';
import { isHeldOut } from './held-out.ts';
import type { LeakageGuard } from './leakage.ts';
import { type QuestionSetName, readContexts } from './question-sets.ts';
import { render } from './render.ts';

/** A reference with everything that is asked about it. */
export interface QuestionReference {
  readonly text: string;
  /** Its body, without the header. */
  readonly tokens: readonly number[];
  /** Never empty; no question twice. */
  readonly questions: readonly AskedQuestion[];
}

export interface AskedQuestion {
  readonly question: string;
  readonly answer: string;
}

/** A question or task and its answer, without a reference. */
export interface Exchange {
  readonly prompt: string;
  readonly answer: string;
}

export type ExchangeSource = 'dolly_hhrlhf' | 'self_instruct_seed' | 'gsm8k' | 'triviaqa';

export interface Material {
  /** By family of data sets. */
  readonly questions: ReadonlyMap<QuestionFamily, readonly QuestionReference[]>;
  /** Long texts, by source. */
  readonly documents: ReadonlyMap<string, readonly string[]>;
  /** Questions and tasks without a reference, by source. */
  readonly exchanges: ReadonlyMap<ExchangeSource, readonly Exchange[]>;
  /** What was read and what was left out, by data set, for the run's log. */
  readonly counts: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

/** SQuAD's editions share most passages and questions, so that they are one family. */
const families = {
  squad: ['squad-v1.1', 'squad-v2.0', 'xquad-en'],
  policyqa: ['policyqa'],
  nq: ['nq_openbook_short'],
  boolq: ['boolq'],
  quac: ['quac'],
  cuad: ['cuad'],
  chinese: ['xquad-zh', 'cmrc2018'],
} as const satisfies Record<string, readonly QuestionSetName[]>;
export type QuestionFamily = keyof typeof families;

export interface MaterialOptions {
  readonly tokenizer: Tokenizer;
  /** Longest body of a reference, tokens. */
  readonly maxTokens: number;
  /** Longest context; a question that does not fit with its answer is left out. */
  readonly contextTokens: number;
  readonly split: Split;
}

/**
 * Reads the material of one split. What is held out has questions and SQuAD's articles only; it serves to watch a run.
 * @param folder where the data sets' folders are
 * @throws Memory3Error "not-found" or "damaged", naming file and line.
 */
export function readMaterial(folder: string, options: MaterialOptions): Material {
  const guard = options.split === 'training' ? heldOutGuard(folder) : undefined;
  const counts: Record<string, Record<string, number>> = {};
  const questions = new Map<QuestionFamily, readonly QuestionReference[]>();
  for (const [family, sets] of Object.entries(families) as [QuestionFamily, readonly QuestionSetName[]][]) {
    const examples = sets.flatMap((set) => {
      const {
        examples: read,
        others,
        ...left
      } = readExamples(folder, set, options.tokenizer, {
        ...options,
        ...(guard === undefined ? {} : { guard }),
      });
      const fitting = read.filter(({ question, answers }) => fits(question, answers[0], options));
      counts[set] = { examples: fitting.length, ...left, long: read.length - fitting.length, ...others };
      return fitting;
    });
    const references = groupByReference(examples);
    if (references.length > 0) questions.set(family, references);
  }
  const documents = readDocuments(folder, options.split, guard);
  const exchanges = guard !== undefined ? readExchanges(folder, guard) : new Map<ExchangeSource, Counted<Exchange>>();
  for (const [source, { used, left }] of documents) {
    counts[`documents of ${source}`] = { documents: used.length, ...left };
  }
  for (const [source, { used, left }] of exchanges) counts[source] = { exchanges: used.length, ...left };
  return { questions, documents: usedOf(documents), exchanges: usedOf(exchanges), counts };
}

/** What is used of a source, and how much of it is not, by reason. */
interface Counted<T> {
  readonly used: readonly T[];
  readonly left: Readonly<Record<string, number>>;
}

function usedOf<Source, T>(sources: ReadonlyMap<Source, Counted<T>>): Map<Source, readonly T[]> {
  return new Map(Array.from(sources, ([source, { used }]) => [source, used]));
}

/** Of all that groups are drawn from: a run that goes on with other data is refused by it. */
export function materialFingerprint(materials: readonly Material[]): string {
  const hash = createHash('sha256');
  for (const { questions, documents, exchanges } of materials) {
    for (const sources of [questions, documents, exchanges]) {
      for (const [source, items] of sources) {
        hash.update(`${source} ${items.length}\n`);
        for (const item of items) hash.update(`${JSON.stringify(item)}\n`);
      }
    }
  }
  return hash.digest('hex');
}

function fits(question: string, answer: string, options: MaterialOptions): boolean {
  return !render({ form: 'question', question, answer }, [], { ...options, chatTemplate: null }).cut;
}

function groupByReference(examples: readonly PassageExample[]): QuestionReference[] {
  const references = new Map<string, { tokens: readonly number[]; questions: Map<string, AskedQuestion> }>();
  for (const { reference, question, answers } of examples) {
    const known = references.get(reference.text) ?? { tokens: reference.tokens, questions: new Map() };
    references.set(reference.text, known);
    if (!known.questions.has(question)) known.questions.set(question, { question, answer: answers[0] });
  }
  return Array.from(references, ([text, { tokens, questions }]) => ({
    text,
    tokens,
    questions: [...questions.values()],
  }));
}

const documentSchema = z.object({ text: z.string() });

/** Long texts of the split; short ones and those that leak are left out. */
function readDocuments(folder: string, split: Split, guard: LeakageGuard | undefined): Map<string, Counted<string>> {
  const documents = new Map([
    ['squad', longOf(readArticles(join(folder, 'squad/dev-v1.1.contexts.jsonl.gz'), split), guard)],
  ]);
  if (split === 'held-out') return documents;
  const texts = (...path: string[]) => readJsonLines(join(folder, ...path), documentSchema).map(({ text }) => text);
  const books = ['anatomy', 'biology'].flatMap((book) => texts('openstax_textbooks', `${book}.jsonl.gz`));
  const openstax = longOf(books, guard);
  documents.set('openstax', { ...openstax, used: openstax.used.map(withoutMarks) });
  documents.set('wiki_demo', longOf(texts('wiki_demo', 'all.jsonl.gz'), guard));
  const contracts = readContexts(join(folder, 'cuad/contracts.contexts.jsonl.gz'));
  documents.set(
    'cuad',
    longOf(
      contracts.map(({ text }) => text),
      guard,
    ),
  );
  return documents;
}

function longOf(texts: readonly string[], guard?: LeakageGuard): Counted<string> {
  const long = texts.filter((text) => text.length >= shortestDocument);
  const used = long.filter((text) => guard?.leaks(text) !== true);
  return { used, left: { short: texts.length - long.length, leaking: long.length - used.length } };
}

/** Characters; room for a reference and what follows it. */
const shortestDocument = 1500;

/** Links to figures, and the lines of attributes that some sections begin with. */
function withoutMarks(text: string): string {
  return text
    .replaceAll(/ ?\(?\[\[link\]\]\(#[^)]*\)\)?/g, '')
    .replaceAll(/^class=".*$/gm, '')
    .trim();
}

/** SQuAD's passages put together into their articles. */
function readArticles(file: string, split: Split): string[] {
  const articles = new Map<string, string>();
  for (const { title, text } of readContexts(file)) {
    if (isHeldOut({ set: 'squad-v1.1', title, question: '' }) !== (split === 'held-out')) continue;
    articles.set(title, articles.has(title) ? `${articles.get(title)}\n\n${text}` : text);
  }
  return [...articles.values()];
}

const taskSchema = z.object({ instruction: z.string(), input: z.string(), output: z.string() });

/** Tasks, sums and questions; those that leak are left out, as a task may bring a passage. */
function readExchanges(folder: string, guard: LeakageGuard): Map<ExchangeSource, Counted<Exchange>> {
  const tasks = (...path: string[]): Counted<Exchange> => {
    const rows = readJsonLines(join(folder, ...path), taskSchema);
    const used = rows.filter(({ instruction, output }) => instruction.trim() !== '' && output.trim() !== '');
    return {
      used: used.map(({ instruction, input, output }) => ({
        prompt: input === '' ? instruction : `${instruction}\n${input}`,
        answer: output.trim(),
      })),
      left: { empty: rows.length - used.length },
    };
  };
  const problems = readJsonLines(
    join(folder, 'gsm8k/train.jsonl.gz'),
    z.object({ question: z.string().min(1), solution: z.string().min(1) }),
  );
  const sums = problems.map(({ question, solution }) => ({ prompt: question, answer: plainSolution(solution) }));
  const sources = new Map<ExchangeSource, Counted<Exchange>>([
    ['dolly_hhrlhf', tasks('dolly_hhrlhf', 'train_small1000.jsonl.gz')],
    ['self_instruct_seed', tasks('self_instruct_seed', 'seed_tasks.jsonl.gz')],
    ['triviaqa', readTrivia(folder)],
    ['gsm8k', { used: sums, left: {} }],
  ]);
  return new Map(
    Array.from(sources, ([source, { used: read, left }]) => {
      const used = read.filter(({ prompt, answer }) => !guard.leaks(`${prompt}\n${answer}`));
      return [source, { used, left: { ...left, leaking: read.length - used.length } }];
    }),
  );
}

/** "48/2 = <<48/2=24>>24 clips.\n#### 24" without what is meant for a calculator. */
function plainSolution(solution: string): string {
  return solution
    .replaceAll(/<<[^>]*>>/g, '')
    .replace(/\n#### .*$/, '')
    .trim();
}

function readTrivia(folder: string): Counted<Exchange> {
  const schema = z.object({ question: z.string().min(1), answers: z.array(z.string()) });
  const rows = ['sm_sub3000', 'test_sub1000'].flatMap((part) =>
    readJsonLines(join(folder, 'triviaqa', `${part}.jsonl.gz`), schema),
  );
  const exchanges = new Map<string, Exchange>();
  const left = { unanswerable: 0, repeated: 0 };
  for (const { question, answers } of rows) {
    const answer = answers[0]?.trim() ?? '';
    if (answer === '') left.unanswerable++;
    else {
      if (exchanges.has(question)) left.repeated++;
      exchanges.set(question, { prompt: question, answer });
    }
  }
  return { used: [...exchanges.values()], left };
}
