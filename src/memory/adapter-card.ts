/** What an adapter says about itself: which model it is for, how memories are written with it, what it was made from. */
import { z } from 'zod';
import { memoryProfileSchema } from './profile.ts';

const line = z.string().trim().min(1);

export const adapterCardSchema = z.strictObject({
  formatVersion: z.literal(1),
  name: line.max(80),
  /** ISO 8601. */
  createdAt: z.iso.datetime(),
  /** Of the adapter, as an SPDX expression. */
  licence: line,
  /** The model that it was trained on: the file's own name and `ModelFile.fingerprint()`. */
  base: z.strictObject({ name: line, fingerprint: z.string().regex(/^[0-9a-f]{64}$/) }),
  /** W' = W + scale * B A. */
  scale: z.number(),
  /** How memories are written and read; what a user asks for goes before it. */
  profile: memoryProfileSchema.omit({ header: true }),
  /** Layers whose values its classifier of answers sees; default the profile's. */
  answerLayers: memoryProfileSchema.shape.layers.optional(),
  /** What merged matrices are stored in: the file's own blocks, or 8 bits (`model/merged-weights.ts` says when that is needed). */
  matrixWidth: z.union([z.literal('file'), z.literal(8)]),
  /** What it was trained on; `source` names authors and place, as the licence wants. */
  data: z.array(z.strictObject({ name: line, licence: line, source: line, examples: z.int().nonnegative() })),
  /** The command that made it. */
  training: line,
  /** Rows of a table: what was measured of the merged model. */
  results: z.array(z.record(z.string(), z.union([z.string(), z.number(), z.null()]))),
});
export type AdapterCard = z.output<typeof adapterCardSchema>;

/** What a memory profile is made from where nobody asks for anything else. */
export type ProfileDefaults = AdapterCard['profile'];

const cardBeginning = 'A memory3 adapter:';

/** Whether a text is a card as `describeCard` writes it, or as somebody went on with it. */
export function isCardText(text: string): boolean {
  return text.includes(cardBeginning);
}

/** The card for people, as Markdown. */
export function describeCard(card: AdapterCard): string {
  const { base, profile } = card;
  const facts = [
    ['base model', `${base.name} (sha256 ${base.fingerprint})`],
    ['memory layers', profile.layers.join(', ')],
    ['scale', card.scale],
    ['tokens kept', `${keptWords(profile)}, stored as ${profile.storage}`],
    ['merged matrices', card.matrixWidth === 'file' ? "in the file's own blocks" : 'in 8 bits'],
    ['licence', card.licence],
    ['made', `${card.createdAt}, by \`${card.training}\``],
  ].map(([name, value]) => `- ${name}: ${value}`);
  const data = card.data.map(({ name, licence, source, examples }) => [name, examples, licence, source]);
  const columns = [...new Set(card.results.flatMap((row) => Object.keys(row)))];
  const sections = [
    `# ${card.name}`,
    `${cardBeginning} what is added to the weights of its base model, so that it writes and reads explicit memories. This file repeats what the metadata of adapter.safetensors says.`,
    facts.join('\n'),
    ...(data.length === 0 ? [] : ['## Trained on', table(['data', 'examples', 'licence', 'source'], data)]),
    ...(card.results.length === 0
      ? []
      : [
          '## Measured',
          table(
            columns,
            card.results.map((row) => columns.map((column) => row[column] ?? '')),
          ),
        ]),
  ];
  return `${sections.join('\n\n')}\n`;
}

/** Where all are kept the scoring chooses nothing, but it does where somebody asks for fewer. */
function keptWords({ keptTokens, scoring }: ProfileDefaults): string {
  return keptTokens === 'all'
    ? `all, and where fewer are asked for those by ${scoring}`
    : `${keptTokens}, by ${scoring}`;
}

function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const cell = (value: string | number) => String(value).replaceAll('|', '\\|').replaceAll(/\s+/g, ' ');
  return [head, head.map(() => '---'), ...rows].map((row) => `| ${row.map(cell).join(' | ')} |`).join('\n');
}
