import { z } from 'zod';
import { asked, choiceForm, fields, wordChoices } from './forms.ts';
import { defineTask } from './task.ts';

const words = ['yes', 'no', 'maybe'] as const;

/** PubMedQA: what an abstract says about a question; the official test half (Jin et al. 2019). */
export const pubmedqa = defineTask({
  ...wordChoices,
  name: 'pubmedqa',
  file: 'pubmedqa/pqal.jsonl.gz',
  shots: null,
  line: z.object({
    id: fields.id,
    split: z.string(),
    question: z.string(),
    contexts: z.array(z.string()),
    answer: z.enum(words),
  }),
  gold: ({ contexts }) => [contexts.join('\n\n')],
  form: ({ split, question, contexts, answer }) => {
    if (split !== 'test') return [];
    const passage = `Abstract: ${contexts.join('\n')}\n`;
    return { ...choiceForm(question, `${passage}${asked(question)}`, words, words.indexOf(answer)), passage };
  },
});
