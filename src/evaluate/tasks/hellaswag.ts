import { fields, lines, textChoices, textForm } from './forms.ts';
import { defineTask } from './task.ts';

/** HellaSwag: how a scene goes on (Zellers et al. 2019). */
export const hellaswag = defineTask({
  ...textChoices,
  name: 'hellaswag',
  file: 'hellaswag/validation_sub1000.jsonl.gz',
  shots: 'own',
  line: lines.choices.extend({ activity: fields.text, context: fields.text }),
  form: ({ activity, context, choices, answer }) =>
    textForm(context, `${activity}: ${context.trim()}`, choices, answer),
});
