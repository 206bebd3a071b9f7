import { z } from 'zod';
import { fields } from './forms.ts';
import { defineTask } from './task.ts';

/** WikiText-2: perplexity of articles' beginnings (Merity et al. 2016). */
export const wikitext2 = defineTask({
  name: 'wikitext2',
  kind: 'perplexity',
  file: 'wikitext2/valid.jsonl.gz',
  shots: null,
  tokens: 512,
  metrics: ['perplexity'],
  line: z.object({ doc_id: fields.id, text: z.string() }).transform(({ doc_id, text }) => ({ id: doc_id, text })),
  form: ({ text }) => ({ query: text, text }),
});
