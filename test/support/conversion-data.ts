/** Data sets of a few lines in a folder of their own, each in the form of its real one: what a conversion trains on. */
import { gzipSync } from 'node:zlib';
import heldOut from '../../src/train/conversion/held-out.json' with { type: 'json' };
import { type TemporaryFolder, temporaryFolder } from './temporary.ts';

export const lines = (rows: readonly object[]) => gzipSync(rows.map((row) => JSON.stringify(row)).join('\n'));
export const heldArticle = heldOut.squadArticles[0] as string;
export const heldSite = heldOut.policySites[0] as string;

export const bridge = 'The bridge was built in 1887. It is made of iron and crosses the river near the old mill.';
export const forest = 'Most of the forest lies in Brazil, where rain falls on two hundred days of every year or more.';
export const article = Array.from({ length: 60 }, (_, i) => `Fact number ${i} about ${i % 7} bees.`).join(' ');

/** The text of a data set in SQuAD's form: one question about each passage. */
function squadForm(passages: readonly (readonly [title: string, text: string, answer: string | null])[]) {
  const contexts = passages.map(([title, text], i) => ({ context_id: `${title}/${i}`, title, text }));
  const questions = passages.map(([title, text, answer], i) => ({
    context_id: `${title}/${i}`,
    question: `What about ${title} ${i}?`,
    answers: answer === null ? [] : [answer],
    answer_starts: answer === null ? [] : [text.indexOf(answer)],
  }));
  return { contexts: lines(contexts), questions: lines(questions) };
}

export function conversionData(): TemporaryFolder {
  const folder = temporaryFolder();
  const squadLike = (path: string, passages: Parameters<typeof squadForm>[0]) => {
    const { contexts, questions } = squadForm(passages);
    folder.write(`${path}.contexts.jsonl.gz`, contexts);
    folder.write(`${path}.qas.jsonl.gz`, questions);
  };
  const squad = [
    ['Bridge', bridge, '1887'],
    ['Bridge', article, 'Fact number 59'],
    ['Bridge', bridge, null],
    ['Bridge', bridge, '1887. It'],
    [heldArticle, forest, 'Brazil'],
    [heldArticle, article.replaceAll('bees', 'ants'), 'ants'],
  ] as const;
  squadLike('squad/dev-v1.1', squad);
  squadLike('squad/dev-v2.0', squad.slice(0, 1));
  squadLike('xquad/test-en', [
    ['Bridge', bridge, '1887'],
    [heldArticle, forest, 'Brazil'],
  ]);
  squadLike('xquad/test-zh', [['Bridge', '这座桥建于1887年。', '1887年']]);
  squadLike('cmrc2018/trial', [['桥', '桥是铁做的。', '铁']]);
  squadLike('policyqa/dev', [['a.example', 'We share nothing with anybody.', 'nothing']]);
  squadLike('policyqa/test', [[heldSite, 'We share all we know with everybody we meet.', 'all we know']]);
  const open = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map((i) => ({
    question: `who ${i}`,
    context: `Number ${i} was the work of Ann${i}.`,
    answers: ['Bob', `Ann${i}`],
  }));
  folder.write('nq_openbook_short/dev.jsonl.gz', lines(open));
  const yes = { choices: ['no', 'yes'], answer: 1 };
  folder.write(
    'boolq/train.jsonl.gz',
    lines([
      { passage: 'Bees dance.', question: 'do bees dance', ...yes },
      { passage: article, question: 'is this long', ...yes },
      { passage: forest, question: 'does this leak', ...yes },
    ]),
  );
  const dialogue = (turns: string) =>
    `Title: Ann\n\nBackground: A painter.\n\nSection: Life\nContext: Ann was born in Rome. She died in Oslo. CANNOTANSWER\n\n${turns}`;
  folder.write(
    'quac/sample1000.jsonl.gz',
    lines([
      { prompt: dialogue('Question: Where was she born? '), answers: ['Rome'] },
      {
        prompt: dialogue('Question: Where was she born?\nAnswer: Rome\n\nQuestion: Did she paint? '),
        answers: ['CANNOTANSWER'],
      },
      {
        prompt: dialogue('Question: Did she paint?\nAnswer: CANNOTANSWER\n\nQuestion: Where did she die? '),
        answers: ['Oslo'],
      },
    ]),
  );
  const contract = `${'x '.repeat(400)}The SUPPLY AGREEMENT is made on May 1, 2001 by both. ${'y '.repeat(900)}`;
  folder.write(
    'cuad/contracts.contexts.jsonl.gz',
    lines([
      { context_id: 'c', title: 'C', text: contract },
      { context_id: 'd', title: 'D', text: `${contract}${forest}` },
    ]),
  );
  folder.write(
    'cuad/clauses.jsonl.gz',
    lines([
      { context_id: 'c', category: 'Agreement Date', clauses: ['May 1, 2001'] },
      { context_id: 'c', category: 'Parties', clauses: ['somebody else'] },
      { context_id: 'c', category: 'Exclusivity', clauses: [] },
    ]),
  );
  for (const book of ['anatomy', 'biology']) {
    folder.write(
      `openstax_textbooks/${book}.jsonl.gz`,
      lines([{ text: `class="x"\n${article} ([[link]](#fig-1))` }, { text: 'short' }]),
    );
  }
  folder.write('wiki_demo/all.jsonl.gz', lines([{ text: article }, { text: `${article} ${forest}` }]));
  folder.write(
    'dolly_hhrlhf/train_small1000.jsonl.gz',
    lines([
      { instruction: 'Greet', input: 'a bee', output: ' Hello bee ' },
      { instruction: 'Where does it rain?', input: forest, output: 'In Brazil' },
    ]),
  );
  folder.write('self_instruct_seed/seed_tasks.jsonl.gz', lines([{ instruction: 'Say a', input: '', output: 'a' }]));
  folder.write('gsm8k/train.jsonl.gz', lines([{ question: '2+2?', solution: '2+2 = <<2+2=4>>4.\n#### 4' }]));
  for (const part of ['sm_sub3000', 'test_sub1000']) {
    folder.write(`triviaqa/${part}.jsonl.gz`, lines([{ question: 'Who?', answers: ['Ann', 'Bob'] }]));
  }
  return folder;
}
