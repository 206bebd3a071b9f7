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

/** Licences allow training on these and shipping what was trained; attribution stands in docs/training.md. */
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

/**
 * Reads one data set.
 * @param folder where the data sets' folders are
 * @throws Memory3Error "not-found" or "damaged", naming file and line.
 */
export function readQuestionSet(folder: string, set: QuestionSetName): PassageQuestion[] {
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
    case 'quac':
      return readQuac(join(folder, 'quac/sample1000.jsonl.gz'));
    case 'cuad':
      return readCuad(join(folder, 'cuad'));
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
    if (context === undefined) {
      const message = `${questionsFile} asks about context ${row.context_id}, which ${contextsFile} lacks.`;
      throw new Memory3Error('damaged', message);
    }
    const { title, text: passage } = context;
    return { set, title, passage, question: row.question, answers: row.answers, start: row.answer_starts[0] ?? null };
  });
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

/** Questions of a dialogue ("Did he win?") get the article's title in front; the same turn of two dialogues is one question. */
function readQuac(file: string): PassageQuestion[] {
  const result = new Map<string, PassageQuestion>();
  for (const { prompt, answers } of readJsonLines(file, z.object({ prompt: text, answers: z.array(text) }))) {
    const form = quacForm.exec(prompt);
    if (form?.groups === undefined) continue;
    const { title = '', passage = '' } = form.groups;
    for (const turn of prompt.slice(form[0].length).split('\n\nQuestion: ')) {
      const [question = '', earlier] = turn.split('\nAnswer:');
      const right = earlier?.trim() || answers[0] || '';
      const start = passage.indexOf(right);
      if (start < 0 || right === 'CANNOTANSWER') continue;
      const asked = `${title}: ${question.trim()}`;
      result.set(`${asked}\n${passage}`, { set: 'quac', title, passage, question: asked, answers: [right], start });
    }
  }
  return [...result.values()];
}

const clauseSchema = z.object({ context_id: text, category: text, clauses: z.array(text) });
/** Longest clause that is an answer, characters. */
const longestClause = 120;
/** How much of a contract is a clause's passage, characters. */
const contractWindow = 900;

/** Short clauses that stand literally in their contract, with the text around them as the passage. */
function readCuad(folder: string): PassageQuestion[] {
  const contracts = contextsById(join(folder, 'contracts.contexts.jsonl.gz'));
  const marked = readJsonLines(join(folder, 'clauses.jsonl.gz'), clauseSchema);
  return marked.flatMap(({ context_id, category, clauses }) => {
    const contract = contracts.get(context_id);
    const clause = clauses[0];
    if (contract === undefined || clause === undefined || clause.length > longestClause) return [];
    const at = contract.text.indexOf(clause);
    if (at < 0) return [];
    const from = contract.text.lastIndexOf(' ', Math.max(0, at - contractWindow / 3)) + 1;
    const passage = contract.text.slice(from, from + contractWindow);
    if (at + clause.length > from + passage.length) return [];
    return [
      { set: 'cuad', title: contract.title, passage, question: askFor(category), answers: [clause], start: at - from },
    ];
  });
}

function askFor(category: string): string {
  if (category === 'Parties') return 'Who is a party to the agreement?';
  if (/Name|Date|Law/.test(category)) return `What is the ${category.toLowerCase()} of the agreement?`;
  return `What does the agreement say about ${category.toLowerCase().replaceAll('-', ' ')}?`;
}
