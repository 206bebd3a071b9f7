/**
 * Trains a small network in a folder: the process that gets killed, or loses its disk. Says on stdout after each step which
 * one it was.
 *
 *   node test/crash/train.ts <folder>
 */
import { writeSync } from 'node:fs';
import { runTraining } from '../../src/train/run.ts';
import { smallNetwork } from '../support/small-network.ts';

/** A network large enough that a step takes a millisecond or two, and a checkpoint is written in several pieces. */
export async function trainInFolder(folder: string, onStep: (step: number) => void = () => {}): Promise<void> {
  await runTraining(smallNetwork({ hidden: 1000 }), {
    folder,
    config: { hidden: 1000 },
    steps: 400,
    schedule: { kind: 'cosine', rate: 3e-3 },
    checkpointEvery: 10,
    validateEvery: 50,
    keepBest: 'held',
    onEvent: (event) => {
      if (event.kind === 'step') onStep(event.step);
    },
  });
}

if (import.meta.main) {
  await trainInFolder(process.argv[2] as string, (step) => writeSync(1, `${step}\n`));
}
