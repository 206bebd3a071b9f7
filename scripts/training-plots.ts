/** Plots of the two-stage experiment as SVG, by Vega-Lite: no browser, no canvas. */
import { type PlotSpec, plotSvg } from '../src/plot.ts';
import type { ArmName, ArmResult } from '../src/train/pretraining/arm-results.ts';

const titles: Readonly<Record<ArmName, string>> = {
  'two-stages': '(a) warmup, then memories',
  'no-memories': '(b) without memories',
  'from-the-start': '(c) memories from the first step',
  double: '(d) twice the parameters, without memories',
};
/** Okabe and Ito's, which the colour-blind can tell apart. */
const colours = { domain: Object.values(titles), range: ['#0072b2', '#000000', '#d55e00', '#009e73'] };
/** Losses before this share of the steps would take the whole axis. */
const shownFrom = 0.15;
const width = 620;

/** Validation loss over the steps of both stages, and below how far each arm is from (b): mean and range of the seeds. */
export async function validationPlot(results: readonly ArmResult[]): Promise<string> {
  const last = Math.max(...results.flatMap(({ validation }) => validation.map(({ step }) => step)));
  const values = results.flatMap(({ arm, seed, validation }) =>
    validation
      .filter(({ step }) => step >= shownFrom * last)
      .map(({ step, loss }) => ({ arm: titles[arm], step, loss, difference: loss - baseLoss(results, seed, step) })),
  );
  const legend = { orient: 'top', columns: 2, labelLimit: 0, symbolType: 'square', symbolOpacity: 1 };
  const panel = (field: 'loss' | 'difference', title: string, height: number) => ({
    width,
    height,
    encoding: {
      x: { field: 'step', type: 'quantitative', title: 'step' },
      color: { field: 'arm', type: 'nominal', title: null, scale: colours, legend },
    },
    layer: [
      {
        mark: { type: 'area', opacity: 0.2 },
        encoding: {
          y: { aggregate: 'min', field, type: 'quantitative', title, scale: { zero: false } },
          y2: { aggregate: 'max', field },
        },
      },
      {
        mark: { type: 'line' },
        encoding: { y: { aggregate: 'mean', field, type: 'quantitative', title, scale: { zero: false } } },
      },
    ],
  });
  return await plotSvg({
    data: { values },
    vconcat: [panel('loss', 'validation loss, nats per token', 260), panel('difference', 'difference to (b)', 160)],
  } as PlotSpec);
}

/** The loss of "no-memories" of a seed at a step. */
function baseLoss(results: readonly ArmResult[], seed: number, step: number): number {
  const base = results.find((result) => result.arm === 'no-memories' && result.seed === seed);
  return base?.validation.find((point) => point.step === step)?.loss ?? Number.NaN;
}

/** Training loss and learning rate of both stages of one arm (the paper's Figs. 13 and 14). */
export async function stagesPlot({ steps }: ArmResult): Promise<string> {
  const panel = (stage: number, field: 'loss' | 'rate', title: string, height: number) => ({
    width: width / 2 - 30,
    height,
    data: { values: steps[stage] },
    ...(field === 'loss' ? { title: stage === 0 ? 'warmup' : 'continual train, with memories' } : {}),
    mark: { type: 'line', strokeWidth: 1, color: field === 'loss' ? colours.range[0] : colours.range[1] },
    encoding: {
      x: { field: 'step', type: 'quantitative', title: 'step' },
      y: { field, type: 'quantitative', title, scale: { zero: field === 'rate' } },
    },
  });
  const column = (stage: number) => ({
    vconcat: [panel(stage, 'loss', 'training loss, nats per token', 200), panel(stage, 'rate', 'learning rate', 100)],
  });
  return await plotSvg({
    hconcat: [column(0), column(1)],
  } as unknown as PlotSpec);
}
