/** An explanation on the terminal and as a file. */
import { existsSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { replaceFile } from '../durable-file.ts';
import { Memory3Error } from '../errors.ts';
import type { Explanation } from '../evaluate/explain.ts';
import { shortName } from './answering.ts';
import { type Terminal, table } from './terminal.ts';

/** Three tables: the memories, attention at each layer, the recalls. */
export function describeExplanation(explanation: Explanation, { colours }: Pick<Terminal, 'colours'>): string {
  const { answerTokens, logLikelihood, layers, headerShares, contextShares, memories, recalls } = explanation;
  const { withAll, withoutAny } = logLikelihood;
  const name = (referenceId: number) => `[${referenceId}]`;
  const percent = (share: number | undefined) => ((share ?? 0) * 100).toFixed(1);
  const ofMemories = right(
    ['memory', 'worth', 'attention %', 'in sight', 'recalls', 'score'],
    memories.map(({ referenceId, worth, shares, inSight, recalls: count, score }) => [
      name(referenceId),
      signed(worth),
      percent(shares.reduce((sum, share) => sum + share, 0) / shares.length),
      String(inSight),
      String(count),
      score.toFixed(3),
    ]),
    ['of', ...memories.map(({ title, document }) => title ?? shortName(document))],
  );
  const ofLayers = right(
    ['layer', 'header', ...memories.map(({ referenceId }) => name(referenceId)), 'context'],
    layers.map((layer, i) => [
      String(layer),
      percent(headerShares[i]),
      ...memories.map(({ shares }) => percent(shares[i])),
      percent(contextShares[i]),
    ]),
  );
  const ofRecalls = recalls.map(({ stage, before, query, found }) => {
    const hits = found.map(({ referenceId, score }) => `${name(referenceId)} ${score.toFixed(3)}`).join('  ');
    return `${stage} after ${before} tokens: ${hits}\n  ${colours.dim(query.replaceAll(/\s+/g, ' '))}`;
  });
  const heading = (text: string) => `\n${colours.bold(text)}`;
  return [
    heading(
      `The answer's log-likelihood is ${signed(withAll)} nats with memories, ${signed(withoutAny)} without ` +
        `(${answerTokens} tokens)`,
    ),
    'worth: what it loses if one memory is left out, nats. attention: mean share of heads and memory layers.',
    ofMemories,
    heading('Attention of the answer at each memory layer, percent'),
    ofLayers,
    heading('Recalls'),
    ...ofRecalls,
  ].join('\n');
}

/**
 * Writes a page; what stood at the path stays until it is there whole.
 * @throws Memory3Error "disk"
 */
export function savePage(path: string, page: string): void {
  try {
    replaceFile(dirname(path), basename(path), page);
  } catch (cause) {
    throw unwritable(path, cause);
  }
}

/**
 * For before the answer, which takes longer than a person wants to wait for a wrong path.
 * @throws Memory3Error "disk" if the folder of `path` is not there.
 */
export function checkPagePath(path: string): void {
  if (!existsSync(dirname(path))) throw unwritable(path);
}

function unwritable(path: string, cause?: unknown): Memory3Error {
  return new Memory3Error('disk', `The explanation cannot be written to ${path}.`, {
    remedy: 'Name a file in a folder that exists and may be written to.',
    cause,
  });
}

/** A table whose cells stand right, with a last column that stands left. */
function right(head: readonly string[], rows: readonly (readonly string[])[], last: readonly string[] = []): string {
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => (row[column] ?? '').length)));
  const padded = [head, ...rows].map((row, index) => [
    ...row.map((cell, column) => cell.padStart(widths[column] as number)),
    last[index] ?? '',
  ]);
  return table(padded[0] as string[], padded.slice(1));
}

function signed(value: number): string {
  return `${value < 0 ? '' : '+'}${value.toFixed(2)}`;
}
