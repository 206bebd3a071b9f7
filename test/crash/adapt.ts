/**
 * Adapts a tiny model to two domains: the process that gets killed. Says on stdout what is done.
 *
 *   node test/crash/adapt.ts <model> <data> <folder>
 */
import { writeSync } from 'node:fs';
import { type AdaptEvent, type AdaptRequest, adapt } from '../../src/evaluate/adapt/adapt.ts';

export function adaptationRequest(model: string, data: string, folder: string): AdaptRequest {
  return {
    ...{ model, data, folder, adapter: null, threads: 1, profile: { layers: 'last-1' } },
    settings: {
      domains: ['policies', 'textbook'],
      ...{ limit: 3, texts: 2, memories: 2 },
      training: { steps: 6, rate: 5e-3, length: 64, batch: 2, validations: 3, lora: { rank: 4 } },
    },
  };
}

/** One word for each thing that is done. */
export function wordOf(event: AdaptEvent): string | null {
  if (event.kind !== 'training') return `${event.kind} ${event.domain} ${event.done}`;
  return event.event.kind === 'step' ? `step ${event.domain} ${event.event.step}` : null;
}

if (import.meta.main) {
  const [model, data, folder] = process.argv.slice(2) as [string, string, string];
  await adapt({
    ...adaptationRequest(model, data, folder),
    onEvent(event) {
      const word = wordOf(event);
      if (word !== null) writeSync(1, `${word}\n`);
    },
  });
}
