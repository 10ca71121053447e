export { balanceMetrics, type BalanceMetric } from './balance-metrics.js';
export { BalanceSeries, type Balance, type BalanceValues } from './balance-series.js';
