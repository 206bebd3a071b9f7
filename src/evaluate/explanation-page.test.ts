import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { escapeHtml } from '../html.ts';
import type { ExplainedMemory } from './explain.ts';
import { type ExplanationPage, explanationPage } from './explanation-page.ts';

/** A page in which every text is `text`. */
function pageOf(text: string, title: string | null = text): ExplanationPage {
  const memory = (referenceId: number, shares: readonly number[], worth: number): ExplainedMemory => ({
    referenceId,
    document: text,
    title,
    text,
    score: 0.5,
    recalls: 1,
    inSight: 7,
    shares,
    logLikelihoodWithout: -10 - worth,
    worth,
  });
  return {
    question: text,
    answer: text,
    model: text,
    explanation: {
      answerTokens: 7,
      logLikelihood: { withAll: -10, withoutAny: -13.5 },
      layers: [15, 16],
      headerShares: [0.5, 0.25],
      contextShares: [0.3, 0.5],
      memories: [memory(4, [0.15, 0.2], 3), memory(9, [0.05, 0.05], -0.25)],
      recalls: [{ stage: 'prompt', before: 3, query: text, found: [{ referenceId: 4, score: 0.5 }] }],
    },
  };
}

const tagsOf = (page: string) => page.match(/<[^>]*>?/g);

describe('the page of an explanation', () => {
  it('has no unescaped text, whatever the texts are', () => {
    const expected = tagsOf(explanationPage(pageOf('text')));
    const hostile = fc.array(fc.constantFrom('<', '>', '"', "'", '&', '</', 'script', '<!--', '-->', '="', 'é', '\n'));
    fc.assert(
      fc.property(
        hostile.map((pieces) => pieces.join('')),
        fc.boolean(),
        (text, titled) => {
          const page = explanationPage(pageOf(text, titled ? text : null));
          assert.deepEqual(tagsOf(page), expected);
          assert.ok(page.includes(`<p class="answer" dir="auto">${escapeHtml(text)}</p>`));
        },
      ),
    );
  });

  it('stands alone', () => {
    const page = explanationPage(pageOf('text'));
    assert.doesNotMatch(page, /https?:|<script|<link|<img|@import|url\(/);
    assert.match(page, /<meta name="viewport"/);
    assert.match(page, /@media print/);
  });

  it('shows every layer and memory, coloured against the largest share', () => {
    const page = explanationPage(pageOf('text'));
    const rows = [...page.matchAll(/<tr><th scope="row">(\d+)<\/th>(.*)<\/tr>/g)].map(([, layer, cells]) => [
      layer,
      ...[...(cells as string).matchAll(/<td[^>]*>([^<]*)</g)].map((match) => match[1]),
    ]);
    assert.deepEqual(rows, [
      ['15', '50.0', '15.0', '5.0', '30.0'],
      ['16', '25.0', '20.0', '5.0', '50.0'],
    ]);
    const alphas = [...page.matchAll(/rgb\(214 96 36 \/ ([\d.]+)\)/g)].map((match) => Number(match[1]));
    assert.deepEqual(alphas, [0.75, 0.25, 1, 0.25]);
    assert.match(
      page,
      /−10\.00[\s\S]*−13\.50[\s\S]*\+3\.50[\s\S]*\[4\][\s\S]*\+3\.00 nats[\s\S]*\[9\][\s\S]*−0\.25 nats/,
    );
  });
});
