import { asked, fields, lines, textChoices, textForm } from './forms.ts';
import { defineTask } from './task.ts';

/** SciQ: science questions, most with a supporting text (Welbl et al. 2017). */
export const sciq = defineTask({
  ...textChoices,
  name: 'sciq',
  file: 'sciq/test_or_val.jsonl.gz',
  shots: 'own',
  line: lines.question.extend({ support: fields.text }),
  gold: ({ support }) => [support],
  form: ({ support, question, choices, answer }) => {
    const passage = `${support.trimStart()}\n`.trimStart();
    return { ...textForm(question, `${passage}${asked(question)}`, choices, answer), passage };
  },
});
