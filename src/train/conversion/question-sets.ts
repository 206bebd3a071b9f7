/**
 * The data sets of questions with a passage, each in its own format, read into one form.
 *
 * The folder is laid out as `<set>/<file>.jsonl.gz`; files hold one JSON object a line:
 *
 *   SQuAD's form   contexts {context_id, title, text}, questions {context_id, title, question, answers[], answer_starts[]}
 *   nq, boolq      one file with passage and question together
 *   quac           a dialogue as a prompt: background, section, turns; each answered turn is a question
 *   cuad           contracts, and the clauses that lawyers marked in them, by category
 */
import { join } from 'node:path';
import { z } from 'zod';
import { Memory3Error } from '../../errors.ts';
import { readJsonLines } from '../../json-lines.ts';

/** Licences allow training on these and shipping what was trained; attribution stands in `sources.ts`. */
export const questionSets = [
  'squad-v1.1',
  'squad-v2.0',
  'xquad-en',
  'xquad-zh',
  'cmrc2018',
  'policyqa',
  'nq_openbook_short',
  'boolq',
  'quac',
  'cuad',
] as const;
export type QuestionSetName = (typeof questionSets)[number];

/** A question with the whole passage that answers it. */
export interface PassageQuestion {
  readonly set: QuestionSetName;
  /** Article or site, '' where there is none. */
  readonly title: string;
  readonly passage: string;
  readonly question: string;
  /** The first is the target; empty if the passage has no answer. */
  readonly answers: readonly string[];
  /** Where the first answer stands in the passage, UTF-16 units; null if it stands nowhere (yes and no). */
  readonly start: number | null;
}

/** A data set as it was read. */
export interface QuestionSet {
  readonly questions: readonly PassageQuestion[];
  /** How many of its questions cannot be used, by reason; of both splits. */
  readonly left: Readonly<Record<string, number>>;
}

/**
 * Reads one data set.
 * @param folder where the data sets' folders are
 * @throws Memory3Error "not-found" or "damaged", naming file and line.
 */
export function readQuestionSet(folder: string, set: QuestionSetName): QuestionSet {
  switch (set) {
    case 'quac':
      return readQuac(join(folder, 'quac/sample1000.jsonl.gz'));
    case 'cuad':
      return readCuad(join(folder, 'cuad'));
    default:
      return { questions: readQuestions(folder, set), left: {} };
  }
}

/** Sets of which every row is a question. */
function readQuestions(folder: string, set: Exclude<QuestionSetName, 'quac' | 'cuad'>): PassageQuestion[] {
  switch (set) {
    case 'squad-v1.1':
      return readSquadForm(set, join(folder, 'squad/dev-v1.1'));
    case 'squad-v2.0':
      return readSquadForm(set, join(folder, 'squad/dev-v2.0'));
    case 'xquad-en':
      return readSquadForm(set, join(folder, 'xquad/test-en'));
    case 'xquad-zh':
      return readSquadForm(set, join(folder, 'xquad/test-zh'));
    case 'cmrc2018':
      return readSquadForm(set, join(folder, 'cmrc2018/trial'));
    case 'policyqa':
      return ['dev', 'test'].flatMap((part) => readSquadForm(set, join(folder, 'policyqa', part)));
    case 'nq_openbook_short':
      return readNaturalQuestions(join(folder, 'nq_openbook_short/dev.jsonl.gz'));
    case 'boolq':
      // Its validation part is for evaluation.
      return readBoolQ(join(folder, 'boolq/train.jsonl.gz'));
  }
}

const text = z.string().min(1);
const contextSchema = z.object({ context_id: text, title: z.string(), text });
const questionSchema = z.object({
  context_id: text,
  question: z.string(),
  answers: z.array(z.string()),
  // -1 where an answer stands nowhere, which no chunk holds.
  answer_starts: z.array(z.int().min(-1)),
});

function readSquadForm(set: QuestionSetName, path: string): PassageQuestion[] {
  const contextsFile = `${path}.contexts.jsonl.gz`;
  const questionsFile = `${path}.qas.jsonl.gz`;
  const contexts = contextsById(contextsFile);
  return readJsonLines(questionsFile, questionSchema).map((row) => {
    const context = contexts.get(row.context_id);
    if (context === undefined) throw lackingContext(questionsFile, row.context_id, contextsFile);
    const { title, text: passage } = context;
    return { set, title, passage, question: row.question, answers: row.answers, start: row.answer_starts[0] ?? null };
  });
}

function lackingContext(file: string, context: string, contextsFile: string): Memory3Error {
  return new Memory3Error('damaged', `${file} asks about context ${context}, which ${contextsFile} lacks.`);
}

/** Passages in SQuAD's form, in the order of their articles. */
export function readContexts(file: string): z.infer<typeof contextSchema>[] {
  return readJsonLines(file, contextSchema);
}

function contextsById(file: string): Map<string, z.infer<typeof contextSchema>> {
  return new Map(readContexts(file).map((context) => [context.context_id, context]));
}

/** The first answer that the passage has literally is the target. */
function readNaturalQuestions(file: string): PassageQuestion[] {
  const rows = readJsonLines(file, z.object({ question: text, context: text, answers: z.array(text) }));
  return rows.map(({ question, context, answers }) => {
    const found = answers.find((answer) => context.includes(answer));
    return {
      set: 'nq_openbook_short',
      title: '',
      passage: context,
      question,
      answers: found === undefined ? [] : [found, ...answers.filter((answer) => answer !== found)],
      start: found === undefined ? null : context.indexOf(found),
    };
  });
}

function readBoolQ(file: string): PassageQuestion[] {
  const rows = readJsonLines(
    file,
    z.object({ passage: text, question: text, choices: z.array(text), answer: z.int().nonnegative() }),
  );
  return rows.map(({ passage, question, choices, answer }) => {
    const right = choices[answer];
    return { set: 'boolq', title: '', passage, question, answers: right === undefined ? [] : [right], start: null };
  });
}

const quacForm =
  /^Title: (?<title>.*)\n\nBackground: [\s\S]*?\n\nSection: .*\nContext: (?<passage>[\s\S]*?)\n\nQuestion: /;

const dialogueSchema = z.object({
  prompt: text.transform((prompt, context) => {
    const form = quacForm.exec(prompt);
    if (form?.groups !== undefined) {
      const { title = '', passage = '' } = form.groups;
      return { title, passage, turns: prompt.slice(form[0].length).split('\n\nQuestion: ') };
    }
    const message = 'it is no dialogue: title, background, section with its context, then questions';
    context.addIssue({ code: 'custom', message });
    return z.NEVER;
  }),
  answers: z.array(text),
});

/** Questions of a dialogue ("Did he win?") get the article's title in front; the same turn of two dialogues is one question. */
function readQuac(file: string): QuestionSet {
  const result = new Map<string, PassageQuestion>();
  const left = { unanswerable: 0, 'not in the passage': 0, repeated: 0 };
  for (const { prompt, answers } of readJsonLines(file, dialogueSchema)) {
    const { title, passage, turns } = prompt;
    for (const turn of turns) {
      const [question = '', earlier] = turn.split('\nAnswer:');
      const right = earlier?.trim() || answers[0] || '';
      const start = passage.indexOf(right);
      const asked = `${title}: ${question.trim()}`;
      const key = `${asked}\n${passage}`;
      if (right === 'CANNOTANSWER') left.unanswerable++;
      else if (start < 0) left['not in the passage']++;
      else {
        if (result.has(key)) left.repeated++;
        result.set(key, { set: 'quac', title, passage, question: asked, answers: [right], start });
      }
    }
  }
  return { questions: [...result.values()], left };
}

const clauseSchema = z.object({ context_id: text, category: text, clauses: z.array(text) });
/** Longest clause that is an answer, characters. */
const longestClause = 120;
/** How much of a contract is a clause's passage, characters. */
const contractWindow = 900;

/** Short clauses that stand literally in their contract, with the text around them as the passage. */
function readCuad(folder: string): QuestionSet {
  const contractsFile = join(folder, 'contracts.contexts.jsonl.gz');
  const clausesFile = join(folder, 'clauses.jsonl.gz');
  const contracts = contextsById(contractsFile);
  const questions: PassageQuestion[] = [];
  const left = { unanswerable: 0, 'of long clauses': 0, 'not in the passage': 0 };
  for (const { context_id, category, clauses } of readJsonLines(clausesFile, clauseSchema)) {
    const contract = contracts.get(context_id);
    if (contract === undefined) throw lackingContext(clausesFile, context_id, contractsFile);
    const clause = clauses[0];
    if (clause === undefined) left.unanswerable++;
    else if (clause.length > longestClause) left['of long clauses']++;
    else {
      const at = contract.text.indexOf(clause);
      const from = contract.text.lastIndexOf(' ', Math.max(0, at - contractWindow / 3)) + 1;
      const passage = contract.text.slice(from, from + contractWindow);
      if (at < 0 || at + clause.length > from + passage.length) left['not in the passage']++;
      else {
        const question = askFor(category);
        questions.push({ set: 'cuad', title: contract.title, passage, question, answers: [clause], start: at - from });
      }
    }
  }
  return { questions, left };
}

function askFor(category: string): string {
  if (category === 'Parties') return 'Who is a party to the agreement?';
  if (/Name|Date|Law/.test(category)) return `What is the ${category.toLowerCase()} of the agreement?`;
  return `What does the agreement say about ${category.toLowerCase().replaceAll('-', ' ')}?`;
}
