/** What an evaluation needs, small: data sets of a few lines of our own, a tiny model, a bank with an embedder of words. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { openBank } from '../../src/bank/sqlite.ts';
import type { Evaluated } from '../../src/evaluate/eval/evaluate.ts';
import { putDocument } from '../../src/generate/library.ts';
import { MemoryRecall } from '../../src/generate/recall.ts';
import { identityOf, openModel } from '../../src/generate/workspace.ts';
import type { Embedder } from '../../src/retrieval/embedder.ts';
import { saveModel } from '../../src/train/scratch/save-model.ts';
import { dimensions, vectorOf } from '../crash/library.ts';
import { type TemporaryFolder, temporaryFolder } from './temporary.ts';
import { tinyModel } from './tiny-trained.ts';

const numbers = (count: number) => Array.from({ length: count }, (_, index) => index);
const options = ['red', 'green and yellow', 'blue', 'as black as a night without a moon'];

/** Lines with ids, all alike but for a number. */
function made(set: string, count: number, line: (index: number) => object): object[] {
  return numbers(count).map((index) => ({ id: `${set}-${index}`, ...line(index) }));
}

const question = (about: string) => (index: number) => ({
  question: `What colour is the ${about} of house ${index}?`,
  choices: options,
  answer: index % 4,
});
const answered = (index: number) => ({
  question: `Who built bridge ${index}?`,
  answers: [`Ann Iron${index}`, `A. Iron${index}`],
});
/**
 * The same about a passage in another file, of an article that took no part in training; of the last one there is no
 * passage.
 */
const inContext = (index: number) => ({ ...answered(index), context_id: `c-${index}`, title: 'Force' });
const contexts = (count: number, text: (index: number) => string) =>
  numbers(count).map((index) => ({ context_id: `c-${index}`, title: 'Bridges', text: text(index) }));
/** Of more tokens than two references have, and the answer at the end. */
const longPassage = (index: number) =>
  `${`The river is wide and the water is deep near bridge ${index}. `.repeat(16)}\n\nAnn Iron${index} built it.`;
const subjects = (index: number) => ({ ...question('door')(index), subject: index % 2 === 0 ? 'doors' : 'gates' });
const passages = (index: number) => ({
  passage: `House ${index} has a green roof.`,
  question: `is the roof of house ${index} green`,
  choices: ['no', 'yes'],
  answer: 1,
});
const examination = (index: number) => ({
  instruction: '选',
  question: `第${index}题哪一项正确?A:甲;B:乙;C:丙;D:丁。`,
  answer: `正确答案：${'ABCD'[index % 4]}。`,
});
const truth = (index: number) => ({
  question: `Is roof ${index} made of cheese?`,
  mc1_choices: ['No, it is not.', 'Yes.'],
  mc1_labels: [1, 0],
  mc2_choices: ['No, it is not.', 'Nobody knows one.', 'Yes.', 'Of course.'],
  mc2_labels: [1, 1, 0, 0],
});

/** Every data set that a task names, by file, in the form of the real one. */
const files: Readonly<Record<string, object[]>> = {
  'arc_easy/test': made('arc', 9, question('roof')),
  'arc_easy/train': made('arc-train', 4, question('wall')),
  'arc_challenge/test': made('arc-c', 3, question('floor')),
  'arc_challenge/train': made('arc-c-train', 2, question('stair')),
  'hellaswag/validation_sub1000': made('hs', 3, (index) => ({
    activity: 'Painting',
    context: `A man opens can ${index}. He `,
    choices: ['paints the wall.', 'eats it.', 'flies.', 'sleeps on the roof.'],
    answer: 0,
  })),
  'winogrande/dev': made('wg', 3, (index) => ({
    context_options: [`Ann saw Eve at gate ${index} because Ann`, `Ann saw Eve at gate ${index} because Eve`],
    continuation: 'was looking.',
    answer: 0,
  })),
  'winogrande/train_xl': made('wg-train', 2, (index) => ({
    sentence: `Door ${index} hit the wall because the _ was open.`,
    choices: ['door', 'wall'],
    answer: 0,
  })),
  'piqa/validation': made('piqa', 3, question('cup')),
  'piqa/train': made('piqa-train', 2, question('plate')),
  'openbookqa/test': made('ob', 3, question('leaf')),
  'openbookqa/train': made('ob-train', 2, question('root')),
  'boolq/validation': made('boolq', 3, (index) => ({ ...passages(index), question: `${passages(index).question}?` })),
  'boolq/train': made('boolq-train', 2, passages),
  'copa/validation': made('copa', 3, (index) => ({
    question: `The cup ${index} fell, therefore`,
    choices: ['it broke.', 'it sang.'],
    answer: 0,
  })),
  'commonsenseqa/validation': made('csqa', 3, question('grass')),
  'commonsenseqa/train': made('csqa-train', 2, question('sky')),
  'siqa/validation': made('siqa', 3, (index) => ({ ...question('hat')(index), context: 'Ann bought a hat.' })),
  'sciq/test_or_val': made('sciq', 3, (index) => ({
    ...question('acid')(index),
    support: index === 0 ? '' : ' Acids.',
  })),
  'mmlu/test': made('mmlu', 6, subjects),
  'mmlu/dev': made('mmlu-dev', 6, subjects),
  'cmmlu/test': made('cmmlu', 4, subjects),
  'cmmlu/dev': made('cmmlu-dev', 4, subjects),
  'truthfulqa/half_a': made('tqa', 3, truth),
  'halluqa/mc': made('halluqa', 3, (index) => ({
    question: `第${index}个？`,
    choices: ['不知道。', '是的。'],
    answer: 0,
  })),
  'lambada/openai_test': made('lambada', 3, (index) => ({
    context: `Ann met Eve ${index}. "Hello," said`,
    continuation: 'Eve',
  })),
  'squad/dev-v1.1.qas': made('squad', 9, inContext),
  'squad/dev-v1.1.contexts': contexts(8, (index) => (index === 7 ? longPassage(7) : `Ann Iron${index} built it.`)),
  'xquad/test-en.qas': made('xquad-en', 3, inContext),
  'xquad/test-en.contexts': contexts(3, (index) => `Ann Iron${index} built it.`),
  'xquad/test-zh.qas': made('xquad-zh', 3, (index) => ({
    question: `桥${index}？`,
    answers: ['1887年'],
    context_id: 'c-0',
    title: 'Force',
  })),
  'xquad/test-zh.contexts': contexts(1, () => '1887年。'),
  'cmrc2018/dev.qas': made('cmrc', 3, (index) => ({ question: `桥${index}？`, answers: ['铁'], context_id: 'c-0' })),
  'cmrc2018/dev.contexts': contexts(1, () => '桥是铁的。'),
  'cmrc2018/trial.qas': made('cmrc-trial', 2, (index) => ({
    question: `河${index}？`,
    answers: ['水'],
    context_id: 'c-1',
  })),
  'nq_open/nq_open.dev': made('nq', 3, answered),
  'nq_openbook_short/dev': made('nqob', 2, (index) => ({
    ...answered(index),
    context: `Bridge ${index} is of Ann Iron${index}.`,
  })),
  'triviaqa/sm_sub3000': made('trivia', 3, answered),
  'webquestions/test': made('web', 3, answered),
  'webquestions/trainmodel': made('web-train', 2, answered),
  'entity_questions/test': made('entity', 3, answered),
  'entity_questions/dev': made('entity-dev', 2, answered),
  'bamboogle/test': made('bamboogle', 3, answered),
  'gsm8k/test': made('gsm8k', 3, (index) => ({
    question: `What is ${index} and 1200?`,
    solution: `It is ${index} + 1200 = <<${index}+1200=${index + 1200}>>${index + 1200}.\n#### ${index + 1200}`,
    answer: `1,20${index}`,
  })),
  'gsm8k/train': made('gsm8k-train', 2, () => ({
    question: '2+2?',
    solution: '2+2 = <<2+2=4>>4.\n#### 4',
    answer: '4',
  })),
  'halueval/qa_half_a': made('haluqa', 3, (index) => ({
    knowledge: `Ann built bridge ${index}.`,
    question: `Who built bridge ${index}?`,
    right_answer: 'Ann',
    hallucinated_answers: ['Bob did.', 'Nobody.'],
  })),
  'halueval/general_half_a': made('halugen', 3, (index) => ({
    user_query: `Say ${index}.`,
    response: `${index}!`,
    hallucination: index === 0 ? 'yes' : 'no',
  })),
  'lawbench/task_1-2': made('law', 4, examination),
  'lawbench/task_3-6': made('case', 4, examination),
  'medqa_us/test': made('medqa', 3, question('bone')),
  'medmcqa/validation': made('medmcqa', 3, question('blood')),
  'pubmedqa/pqal': made('pubmed', 4, (index) => ({
    split: index === 0 ? 'train_dev' : 'test',
    question: `Does remedy ${index} help?`,
    contexts: ['We tried.', 'It did.'],
    answer: 'yes',
  })),
  'wikitext2/valid': numbers(3).map((index) => ({
    doc_id: `wiki-${index}`,
    title: 'Theory',
    text: ` = Theory = \n the theory of thing ${index} is the answer to the question . `.repeat(3),
  })),
};

/** A data folder. */
export function evaluationData(): TemporaryFolder {
  const folder = temporaryFolder();
  for (const [name, lines] of Object.entries(files)) {
    folder.write(`${name}.jsonl.gz`, gzipSync(lines.map((line) => `${JSON.stringify(line)}\n`).join('')));
  }
  return folder;
}

/** Near are texts that share words. */
export const wordEmbedder: Embedder = {
  name: 'words',
  fingerprint: '0'.repeat(64),
  dimensions,
  embedPassages: async (texts) => texts.map(vectorOf),
  embedQueries: async (texts) => texts.map(vectorOf),
  async [Symbol.asyncDispose]() {},
};

/** What the bank holds: who built each bridge, and a sentence that gives one question away. */
const documents = [
  ...numbers(9).map((index) => `Bridge ${index} was built by Ann Iron${index} in the year ${1800 + index}.`),
  'Who built bridge 3?',
  'Nothing is known about roofs.',
];

/** A tiny model in a folder of its own, written when it is not there yet. @returns its path */
export async function tinyModelFolder(folder: string): Promise<string> {
  const path = join(folder, 'model');
  if (!existsSync(path)) {
    const { config, files: tokenizer, tensors } = await tinyModel();
    saveModel(path, { config, tokenizer }, tensors);
  }
  return path;
}

/** A tiny model with its bank, both in a folder, made when they are not there yet. */
export async function openEvaluated(folder: string): Promise<Required<Evaluated> & AsyncDisposable> {
  await using opening = new AsyncDisposableStack();
  const opened = opening.use(await openModel({ model: await tinyModelFolder(folder), adapter: null, threads: 1 }));
  const bank = opening.use(
    openBank(join(folder, 'bank.memory3'), { mode: 'write', identity: await identityOf(opened, wordEmbedder) }),
  );
  for (const [index, text] of documents.entries()) {
    await putDocument(
      { ...opened, bank, embedder: wordEmbedder },
      { name: `${index}`, title: null, mediaType: 'text/plain', text },
    );
  }
  const recall = new MemoryRecall({ ...opened, bank, embedder: wordEmbedder });
  const resources = opening.move();
  return { ...opened, bank, recall, [Symbol.asyncDispose]: () => resources.disposeAsync() };
}
