import { asked, choiceForm, fields, lines, textChoices } from './forms.ts';
import { defineTask } from './task.ts';

/** SciQ: science questions, most with a supporting text (Welbl et al. 2017). */
export const sciq = defineTask({
  ...textChoices,
  name: 'sciq',
  file: 'sciq/test_or_val.jsonl.gz',
  shots: 'own',
  line: lines.question.extend({ support: fields.text }),
  form: ({ support, question, choices, answer }) =>
    choiceForm(question, `${support.trimStart()}\n${asked(question)}`.trimStart(), choices, answer),
});
