/** The sources of banks for evaluation, and which bank has which. A new one is an entry here and nothing else. */
import { z } from 'zod';
import { Memory3Error } from '../../errors.ts';
import { type BankSource, defineSource, type Passage } from './source.ts';

const text = z.string();

/** Lines that several data sets have. */
const documentLine = z.object({ doc_id: text, title: text, text });
const contextLine = z.object({ context_id: text, title: text, text });

/** No title is as good as an empty one. */
const titled = (id: string, title: string, body: string): Passage => ({ id, title: title.trim() || null, text: body });
const document = (line: z.output<typeof documentLine>) => titled(line.doc_id, line.title, line.text);
/** SQuAD writes titles as addresses. */
const context = (line: z.output<typeof contextLine>) =>
  titled(line.context_id, line.title.replaceAll('_', ' '), line.text);

const wikiDemo = defineSource({
  name: 'wiki_demo',
  licence: 'CC BY-SA (Wikipedia)',
  files: ['wiki_demo/all.jsonl.gz'],
  line: documentLine,
  passages: document,
});

const openstaxBiology = defineSource({
  name: 'openstax_biology',
  licence: 'CC BY 3.0 (OpenStax College)',
  files: ['openstax_textbooks/biology.jsonl.gz'],
  line: documentLine,
  passages: document,
});

const openstaxAnatomy = defineSource({
  name: 'openstax_anatomy',
  licence: 'CC BY 3.0 (OpenStax College)',
  files: ['openstax_textbooks/anatomy.jsonl.gz'],
  line: documentLine,
  passages: document,
});

const squad = defineSource({
  name: 'squad',
  licence: 'CC BY-SA 4.0',
  files: ['squad/dev-v1.1.contexts.jsonl.gz', 'squad/dev-v2.0.contexts.jsonl.gz'],
  line: contextLine,
  passages: context,
});

const xquad = defineSource({
  name: 'xquad',
  licence: 'CC BY-SA 4.0',
  files: ['xquad/test-en.contexts.jsonl.gz', 'xquad/test-zh.contexts.jsonl.gz'],
  line: contextLine,
  passages: context,
});

const naturalQuestions = defineSource({
  name: 'nq_openbook_short',
  licence: 'CC BY-SA 3.0 (Wikipedia, Natural Questions)',
  files: ['nq_openbook_short/dev.jsonl.gz'],
  line: z.object({ id: text, context: text }),
  passages: (line) => titled(line.id, '', line.context),
});

const policyqa = defineSource({
  name: 'policyqa',
  licence: 'MIT',
  files: ['policyqa/dev.contexts.jsonl.gz', 'policyqa/test.contexts.jsonl.gz'],
  line: contextLine,
  passages: context,
});

const cuad = defineSource({
  name: 'cuad',
  licence: 'CC BY 4.0',
  files: ['cuad/contracts.contexts.jsonl.gz'],
  line: contextLine,
  passages: context,
});

/** Abstracts without the conclusion, which is the answer. */
const pubmedqa = defineSource({
  name: 'pubmedqa',
  licence: 'MIT',
  files: ['pubmedqa/pqal.jsonl.gz'],
  line: z.object({ id: text, contexts: z.array(text) }),
  passages: ({ id, contexts }) => titled(id, `PubMed ${id}`, contexts.join('\n\n')),
});

/** What experts marked in abstracts: the same piece for several questions is stored once. */
const bioasq = defineSource({
  name: 'bioasq',
  licence: 'CC BY 2.5',
  files: ['bioasq/golden_7b_11b.jsonl.gz'],
  line: z.object({ id: text, snippets: z.array(z.object({ text, document: text })) }),
  passages: ({ id, snippets }) =>
    snippets.map((snippet, index) => titled(`${id}/${index}`, snippet.document, snippet.text)),
});

/** Articles of Chinese statutes: asked for by name, answered with their words. */
const lawbench = defineSource({
  name: 'lawbench',
  licence: 'Apache-2.0',
  files: ['lawbench/task_1-1.jsonl.gz'],
  line: z.object({
    id: text,
    question: z.string().regex(/的内容是什么？$/),
    answer: z.string().regex(/^答案:/),
  }),
  passages: ({ id, question, answer }) => {
    const article = question.replace(/的内容是什么？$/, '');
    return titled(id, article, `${article}：${answer.replace(/^答案:/, '')}`);
  },
});

/** The banks that `memory3 eval bank` builds. */
export const bankSources = {
  general: [
    wikiDemo,
    openstaxBiology,
    openstaxAnatomy,
    squad,
    xquad,
    naturalQuestions,
    policyqa,
    // Far more text than all the others together: last, so that they are there early.
    cuad,
  ],
  professional: [openstaxAnatomy, pubmedqa, bioasq, lawbench],
} as const satisfies Record<string, readonly BankSource[]>;

export type BankKind = keyof typeof bankSources;
export const bankKinds = Object.keys(bankSources) as [BankKind, ...BankKind[]];

/** Every source once. */
export const allSources: readonly BankSource[] = [...new Set<BankSource>(Object.values(bankSources).flat())];

/**
 * The sources of a bank, all or those of the names, in the bank's order.
 * @throws Memory3Error "usage" that lists the names if one is no source of the bank.
 */
export function sourcesOf(kind: BankKind, names?: readonly string[]): BankSource[] {
  const all: readonly BankSource[] = bankSources[kind];
  const unknown = names?.find((name) => all.every((source) => source.name !== name));
  if (unknown !== undefined) {
    const known = all.map(({ name }) => name).join(', ');
    throw new Memory3Error('usage', `"${unknown}" is no source of the ${kind} bank; there are ${known}.`);
  }
  return all.filter(({ name }) => names === undefined || names.includes(name));
}
