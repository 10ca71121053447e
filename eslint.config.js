import js from '@eslint/js';
import prettier from 'eslint-config-prettier';
import tseslint from 'typescript-eslint';

/** Rooms under src/, from the ground up: a room may import only rooms that stand before it. */
export const ROOMS = [
  'engine',
  'hardware',
  'model',
  'routing',
  'routers',
  'balancing',
  'execution',
  'metrics',
  'inspection',
  'scenario',
  'simulation',
  'robustness',
  'calibration',
  'sweep',
  'advice',
  'report',
  'web',
  'files',
  'measure',
  'cli',
];

/** Files beside the rooms, which wire them together. */
const BESIDE = [
  'run',
  'run-explain',
  'run-advise',
  'run-stress',
  'record-trace',
  'open-sweep',
  'compute-sweep',
  'run-sweep',
  'run-tune',
  'run-routers',
  'solve-slo',
  'fit-twin',
  'submit-sweep',
  'sweep-worker',
  'version',
];

/** The last room that must also run in a browser. */
const LAST_WITHOUT_NODE = 'web';

function roomRule(room) {
  const at = ROOMS.indexOf(room);
  const above = ROOMS.slice(0, at);
  const below = ROOMS.slice(at + 1);
  const patterns = [];
  if (below.length > 0) {
    patterns.push({
      regex: `^(\\.\\./)+(${below.join('|')})/`,
      message: `Room ${room} may import only rooms that stand before it: ${above.join(', ') || 'none'}.`,
    });
  }
  if (above.length > 0) {
    patterns.push({
      regex: `^(\\.\\./)+(${above.join('|')})/(?!index\\.js$)`,
      message: 'A room has one door: import from its index.js.',
    });
  }
  if (room !== 'cli') {
    patterns.push({
      regex: `^(\\.\\./)+(${BESIDE.join('|')})\\.js$`,
      message: 'What stands beside the rooms may import them all; none of them imports it.',
    });
  }
  if (at <= ROOMS.indexOf(LAST_WITHOUT_NODE)) {
    patterns.push({ regex: '^node:', message: `Room ${room} must run in a browser.` });
  } else if (room !== 'files') {
    patterns.push({
      regex: '^node:fs',
      message: 'Only the room files opens files.',
    });
  }
  return {
    files: [`src/${room}/**/*.ts`],
    rules: { '@typescript-eslint/no-restricted-imports': ['error', { patterns }] },
  };
}

export default tseslint.config(
  { ignores: ['dist/', 'bench/.build/', 'coverage/', 'node_modules/'] },
  js.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [...tseslint.configs.recommendedTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/prefer-for-of': 'off',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      eqeqeq: ['error', 'smart'],
      'no-console': ['error', { allow: ['error'] }],
    },
  },
  ...ROOMS.map(roomRule),
  { files: ['test/**/*.ts', 'bench/**/*.ts', 'tools/**'], rules: { 'no-console': 'off' } },
  {
    files: ['**/*.js'],
    languageOptions: { globals: { process: 'readonly', console: 'readonly', URL: 'readonly' } },
  },
  prettier,
);
