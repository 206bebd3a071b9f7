import { z } from 'zod';
import { isHeldOut } from '../../train/conversion/held-out.ts';
import { answerForm, lines, shortAnswer } from './forms.ts';
import { defineTask } from './task.ts';

/** Natural Questions, open (Kwiatkowski et al. 2019). */
export const nqOpen = defineTask({
  ...shortAnswer,
  name: 'nq_open',
  file: 'nq_open/nq_open.dev.jsonl.gz',
  shots: 'own',
  line: lines.answered,
  // Another set has the paragraph of a part of these questions.
  gold: {
    file: 'nq_openbook_short/dev.jsonl.gz',
    passage: z
      .object({ question: z.string(), context: z.string() })
      .transform(({ question, context }) => ({ key: question, text: context })),
    key: ({ question }) => question,
  },
  // It was trained on questions of the same set, which has a part of these.
  trained: ({ question }) => !isHeldOut({ set: 'nq_openbook_short', title: '', question }),
  form: ({ question, answers }) => answerForm(question, answers),
});
