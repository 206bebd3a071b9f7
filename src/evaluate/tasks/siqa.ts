import { fields, lines, textChoices, textForm } from './forms.ts';
import { defineTask } from './task.ts';

/** Social IQa: why people do what they do (Sap et al. 2019). */
export const siqa = defineTask({
  ...textChoices,
  name: 'siqa',
  file: 'siqa/validation.jsonl.gz',
  shots: 'own',
  line: lines.question.extend({ context: fields.text }),
  form: ({ context, question, choices, answer }) =>
    textForm(`${context} ${question}`, `Q: ${context} ${question}\nA:`, choices, answer),
});
