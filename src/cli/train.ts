/** `memory3 train`: training, one command for each kind. */
import type { Command } from 'commander';
import type { Interrupt } from './interrupt.ts';
import { addDpo, addSft } from './train-fine-tuning.ts';
import { addPretraining } from './train-pretraining.ts';

export function addTrain(program: Command, interrupt: Interrupt): void {
  const train = program.command('train').description('train a model');
  train.addHelpText(
    'after',
    '\nExamples:\n  $ memory3 train prepare --data texts/ --out corpus --json\n  $ memory3 train warmup --corpus corpus --run runs/warmup\n  $ memory3 train sft --data chats.jsonl --run runs/chat --bank notes',
  );
  addPretraining(train, interrupt);
  addSft(train, interrupt);
  addDpo(train, interrupt);
}
