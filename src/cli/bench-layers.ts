/** `memory3 bench layers`: which layers should be memory layers. */
import type { Command } from 'commander';
import { chooseLayers, type LayerDecision, layerCandidates } from '../evaluate/choose-layers.ts';
import { readSurvey } from '../evaluate/survey-log.ts';
import { carryingRange } from '../evaluate/survey-report.ts';
import { openModel } from '../generate/workspace.ts';
import { addQuestionFlags, type QuestionFlags, readQuestionSets } from './bench-questions.ts';
import { newCommand, terminalOf } from './command.ts';
import type { Interrupt } from './interrupt.ts';
import {
  addPlainModelFlags,
  addStorageFlags,
  modelOptions,
  type PlainModelFlags,
  type ProfileFlags,
} from './options.ts';
import { showFetching } from './pull.ts';
import { table } from './terminal.ts';

interface LayersFlags extends PlainModelFlags, Pick<ProfileFlags, 'scoring' | 'storage'>, QuestionFlags {
  readonly survey?: string;
  readonly json?: boolean;
}

export function addLayers(bench: Command, interrupt: Interrupt): void {
  const command = newCommand(bench, 'layers', 'memory with several choices of layers, and which of them is best', [
    'bench layers --contexts contexts.jsonl.gz --questions qas.jsonl.gz --limit 60',
    'bench layers --data data --sets squad-v1.1 --survey heads.jsonl --json',
  ]).option('--survey <file>', 'log of `bench heads`: its range of long-range heads is measured too');
  addStorageFlags(addPlainModelFlags(addQuestionFlags(command))).action(async (flags: LayersFlags) => {
    const terminal = terminalOf(flags);
    const signal = interrupt.signal();
    using fetching = showFetching(terminal, signal, flags.offline);
    await using opened = await openModel({ ...modelOptions(flags), fetch: fetching.options });
    const { model, tokenizer, file, profile, repeatPrompt } = opened;
    const carrying =
      flags.survey === undefined
        ? undefined
        : carryingRange(readSurvey(flags.survey, await file.fingerprint()), model.config).layers;
    const { scoring, storage, header } = profile;
    const decision = await chooseLayers(
      model,
      tokenizer,
      readQuestionSets(flags, opened, 0, terminal),
      layerCandidates(model.config.layers, carrying),
      {
        ...{ scoring, storage, header, repeatPrompt, signal },
        seed: flags.seed,
        onRow(row) {
          if (terminal.json) terminal.result(row, () => '');
          const { set, mode, layers: choice, kept, nll } = row;
          terminal.notice(`${set} ${mode} ${choice ?? ''} ${kept ?? ''}: nll ${nll.toFixed(3)}`);
        },
      },
    );
    terminal.result({ kind: 'decision', ...decision }, () => describeDecision(decision));
  });
}

function describeDecision({ chosen, candidates }: LayerDecision): string {
  const rows = candidates.map(({ choice, layers, nll, behind, withinNoise }) => [
    choice,
    String(layers.length),
    nll.toFixed(3),
    behind.value.toFixed(3),
    `${behind.low.toFixed(2)} to ${behind.high.toFixed(2)}`,
    withinNoise ? 'yes' : 'no',
  ]);
  const head = ['layers', 'count', 'nll', 'behind the best', '95 %', 'within noise'];
  return `${table(head, rows)}\n\nChosen: ${chosen.choice} (layers ${chosen.layers.join(',')})`;
}
