import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { openFamily } from '../../test/support/families.ts';
import { smallQuestions, smallTokenizer } from '../../test/support/small-questions.ts';
import { seededRandom } from '../generate/sampling.ts';
import { LanguageModel } from '../memory/model.ts';
import { Device } from '../runtime/device.ts';
import { chooseLayers, decide, layerCandidates, type MeasuredCandidate } from './choose-layers.ts';
import type { QualityRow } from './quality.ts';
import { carryingRange, reportSurvey } from './survey-report.ts';

const range = (first: number, count: number) => Array.from({ length: count }, (_, i) => first + i);

/** Rises of heads by layer. */
function surveyOf(rises: readonly (readonly number[])[]) {
  const measurements = rises.flatMap((heads, layer) => [
    { layer, head: null, nll: 3, rise: 1 + layer, error: 0 },
    ...heads.map((rise, head) => ({ layer, head, nll: 3 + rise, rise, error: 0.01 })),
  ]);
  return reportSurvey({ nll: 3, tokens: 100 }, measurements);
}

describe('what a survey of heads shows', () => {
  const model = { layers: 6, heads: 2 };
  const report = surveyOf([
    // Within two standard errors of nothing.
    [0.015, -0.1],
    [0.04, 0],
    [0.5, 0.03],
    [0, 0.31],
    [0.08, -0.02],
    [0.04, 0],
  ]);

  it('heads by their rise, and the fewest that carry most of it', () => {
    assert.deepEqual(
      report.heads.slice(0, 3).map(({ layer, head, rise }) => [layer, head, rise]),
      [
        [2, 0, 0.5],
        [3, 1, 0.31],
        [4, 0, 0.08],
      ],
    );
    assert.ok(Math.abs(report.carried - 1) < 1e-12);
    assert.deepEqual(
      report.concentration.map(({ share, heads }) => [share, heads]),
      [
        [0.5, 1],
        [0.8, 2],
        [0.9, 4],
      ],
    );
    assert.equal(report.concentration[1]?.part, 2 / 12);
    assert.deepEqual(
      report.layers.map(({ whole }) => whole),
      [1, 2, 3, 4, 5, 6],
    );
    assert.equal(report.layers[0]?.carried, 0);
  });

  it('the smallest range of layers that carries enough, the best of its size', () => {
    assert.deepEqual(carryingRange(report, model, 0.5).layers, [2]);
    assert.deepEqual(carryingRange(report, model, 0.8).layers, [2, 3]);
    assert.deepEqual(carryingRange(report, model, 0.85).layers, [2, 3, 4]);
    assert.deepEqual(carryingRange(report, model).layers, [2, 3, 4]);
    assert.deepEqual(carryingRange(report, model, 0.99).layers, [1, 2, 3, 4, 5]);
    assert.ok(Math.abs(carryingRange(report, model).share - 0.92) < 1e-12);
  });

  it('is no ground for a choice where layers are missing or no head matters', () => {
    assert.throws(() => carryingRange(report, { layers: 7, heads: 2 }), {
      code: 'usage',
      message: /12 of the model's 14 heads/,
    });
    assert.throws(() => carryingRange(surveyOf([[-1], [0.015]]), { layers: 2, heads: 1 }), {
      code: 'usage',
      message: /No head/,
    });
  });
});

it('candidates are each there once', () => {
  const choices = (layers: number, carrying?: readonly number[]) =>
    layerCandidates(layers, carrying).map(({ choice }) => choice);
  assert.deepEqual(choices(30, range(9, 12)), [
    'first-half',
    'middle',
    'last-half',
    'last-20',
    'all',
    range(9, 12).join(','),
  ]);
  assert.deepEqual(choices(30, range(10, 20)), choices(30));
  assert.deepEqual(choices(2), ['first-half', 'middle', 'all']);
});

describe('the choice', () => {
  const random = seededRandom(1);
  const hardness = range(0, 200).map(() => 2 + 4 * random());
  /** Questions that are so much harder than with other layers, give or take. */
  const measured = (choice: string, layers: number, harder: number, noise: number): MeasuredCandidate => ({
    choice,
    layers: range(0, layers),
    rows: [],
    nll: hardness.map((one) => one + harder + noise * (random() - 0.5)),
  });

  it('is the best one where the others are worse beyond noise', () => {
    const all = [measured('small', 5, 0.3, 1), measured('best', 20, 0, 1), measured('worst', 10, 1, 1)];
    const { chosen, candidates } = decide(all, seededRandom(2));
    assert.equal(chosen.choice, 'best');
    assert.deepEqual(
      candidates.map(({ choice, withinNoise }) => [choice, withinNoise]),
      [
        ['best', true],
        ['small', false],
        ['worst', false],
      ],
    );
    const small = candidates[1];
    assert.ok(small !== undefined && small.behind.low > 0.15 && small.behind.high < 0.45);
    assert.ok(Math.abs(small.behind.value - (small.nll - (candidates[0]?.nll ?? 0))) < 1e-9);
  });

  it('is the smallest one that is within noise of the best, of equally small ones the better', () => {
    const all = [
      measured('best', 20, 0, 3),
      measured('small', 10, 0.02, 3),
      measured('as small', 10, 0.1, 3),
      measured('smallest', 5, 0.9, 3),
    ];
    const { chosen, candidates } = decide(all, seededRandom(3));
    assert.equal(candidates.find(({ choice }) => choice === 'smallest')?.withinNoise, false);
    const small = candidates.filter(({ layers, withinNoise }) => layers.length === 10 && withinNoise);
    assert.equal(chosen.choice, small[0]?.choice);
    assert.equal(chosen.layers.length, 10);
  });

  it('tells nothing from noise by fewer than six questions', () => {
    const all = [measured('best', 20, 0, 0), measured('small', 10, 1, 0)];
    const chosenBy = (count: number) =>
      decide(
        all.map((one) => ({ ...one, nll: one.nll.slice(0, count) })),
        seededRandom(4),
      ).chosen.choice;
    assert.deepEqual([chosenBy(6), chosenBy(5)], ['best', 'small']);
  });

  it('is made among nothing: refused', () => {
    assert.throws(() => decide([], random), { code: 'usage' });
  });
});

it('layers are chosen by the likelihoods of questions, with all tokens kept and with few', async () => {
  using file = await openFamily('llama');
  await using device = new Device({ threads: 1 });
  const model = new LanguageModel(file, device, { precision: 'f32' });
  const tokenizer = smallTokenizer;
  const sets = smallQuestions;
  const seen: QualityRow[] = [];
  const candidates = layerCandidates(2);
  const decision = await chooseLayers(model, tokenizer, sets, candidates, {
    kept: ['all', 2],
    scoring: 'received',
    storage: 'f16',
    header: [1, 5],
    repeatPrompt: [],
    seed: 0,
    onRow: (row) => seen.push(row),
  });
  // For three sets: none, text, and two numbers of kept tokens for each candidate.
  assert.equal(seen.length, 3 * (2 + 2 * candidates.length));
  assert.equal(decision.baselines.length, 6);
  assert.equal(decision.candidates.length, candidates.length);
  for (const { rows, nll, layers } of decision.candidates) {
    assert.equal(rows.length, 6);
    const ofAll = rows.filter(({ set }) => set === 'all');
    assert.deepEqual(
      ofAll.map(({ kept }) => kept),
      ['all', 2],
    );
    assert.ok(Math.abs(nll - ofAll.reduce((sum, row) => sum + row.nll, 0) / 2) < 1e-9, `${layers}`);
  }
  const likelihoods = decision.candidates.map(({ nll }) => nll);
  assert.deepEqual(
    likelihoods,
    likelihoods.toSorted((a, b) => a - b),
  );
});
